"""A minimal training loop on four drawn scenes: enough to show that a network learns."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from y12 import DetectOptions, Runtime
from y12.exporter.data.open import labelled_dataset
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.detector import Detector
from y12.exporter.model.rows import ModelSpec
from y12.exporter.train.examples.collate import collate
from y12.exporter.train.examples.sources import drawn_example
from y12.exporter.train.losses.build import LossOptions
from y12.exporter.train.network import TrainingNetwork, start_scores_low
from y12.exporter.train.optimizer import learning_rate, optimizer_for
from y12.exporter.train.options import OptimizerOptions
from y12.exporter.train.scenes.forms import CLASS_NAMES
from y12.exporter.train.scenes.write import INSTANCES, write_shapes
from y12.exporter.train.validate import Validation, manifest_of
from y12.exporter.verify.backends import TorchExecutor
from y12.runtime.artefact.opened import Artefact

SCENES, SIDE, SEED = 4, 96, 11  # of this seed, as their twelve objects reach every level of every head
SMALLEST = 16  # pixels of an object: two smaller ones may fall into one cell of the finest map
DRAWN = 24  # scenes, of which the first ones without smaller objects are taken
FOUND, SURE = 0.25, 0.3  # scores: rounding may take one over a threshold, not over both
SURE_OBJECTS = 8  # of the twelve
LEAST, LOOKS = 30, 10  # steps before the first measurement, and between two


@dataclass
class Learned:
    """What came of it: the network, its AP50 on the scenes, the steps, and the parameters without a gradient."""

    detector: Detector
    ap50: float
    steps: int
    untouched: list[str]


def overfit(spec: ModelSpec, folder: Path, most_steps: int = 150, lr: float = 5e-3, enough: float = 0.9) -> Learned:
    """Train until AP50 on the scenes is enough and most objects are found for sure, at most so many steps.

    How soon scores rise depends on how the processor rounds. The scenes are written into the folder.
    """
    validate = Validation(labelled_dataset(_scenes(folder)), SIDE)
    batch = collate([drawn_example(SEED, i, SIDE) for i in _indices()])
    torch.manual_seed(0)
    detector = detector_from_spec(spec)
    detector.names = CLASS_NAMES
    start_scores_low(detector)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # the published 0.03 is for longer runs
    network = TrainingNetwork(detector, LossOptions())
    options = OptimizerOptions(lr=lr, weight_decay=0.0, warmup=20)
    optimizer = optimizer_for(network, options)
    touched: set[str] = set()
    ap50 = 0.0
    for step in range(1, most_steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step - 1, most_steps, options)
        losses = network(batch)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        touched |= {name for name, p in detector.named_parameters() if p.grad is not None and p.grad.any()}
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        if step >= LEAST and step % LOOKS == 0:
            still = copy.deepcopy(detector).eval()
            figures = validate(still)
            ap50 = figures["boxes AP50"]
            if ap50 >= enough and sure_objects(still, folder) >= SURE_OBJECTS:
                break
    trained = {name for name, p in detector.named_parameters() if p.requires_grad}
    return Learned(detector.eval(), ap50, step, sorted(trained - touched))


def scene_images(folder: Path) -> list[Path]:
    """Return the files of the scenes that are learned."""
    return [sample.path for sample in labelled_dataset(folder / INSTANCES).samples]


def network_itself(detector: Detector) -> Runtime:
    """Return a runtime that runs the network in torch."""
    artefact = Artefact(Path("torch"), "onnx", manifest_of(detector, SIDE), "the network itself")
    return Runtime(artefact, TorchExecutor(detector))


def sure_objects(detector: Detector, folder: Path) -> int:
    """Count what is found in the scenes with more than `SURE`."""
    with network_itself(detector) as runtime:
        detections = [runtime.infer(image, DetectOptions(conf=SURE)) for image in scene_images(folder)]
    return sum(map(len, detections))


def _indices() -> list[int]:
    """Return the scenes that are learned."""
    examples = [drawn_example(SEED, i, SIDE) for i in range(DRAWN)]
    sides = [(e.boxes[:, 2:] - e.boxes[:, :2]).min() if len(e.boxes) else 0 for e in examples]
    return [i for i, side in enumerate(sides) if side >= SMALLEST][:SCENES]


def _scenes(folder: Path) -> Path:
    """Write those scenes and their labels in COCO's form."""
    write_shapes(folder, SEED, DRAWN, SIDE)
    truth = json.loads((folder / INSTANCES).read_text())
    ids = {i + 1 for i in _indices()}
    truth["images"] = [image for image in truth["images"] if image["id"] in ids]
    truth["annotations"] = [one for one in truth["annotations"] if one["image_id"] in ids]
    assert len(truth["images"]) == SCENES
    (folder / INSTANCES).write_text(json.dumps(truth))
    return folder / INSTANCES
