import math
from dataclasses import replace

import pytest
import torch

from tests.exporter.train.batches import batch_of
from y12.errors import OptionsError
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.detector import Detector
from y12.exporter.model.heads.head import REG_MAX, cell_centres
from y12.exporter.model.heads.obb import OBB
from y12.exporter.model.spec import spec_from_name
from y12.exporter.train.assign.positives import Positives
from y12.exporter.train.assign.task_aligned import AlignOptions, Assignment
from y12.exporter.train.batch import Batch
from y12.exporter.train.losses.build import LossOptions
from y12.exporter.train.losses.predicted_boxes import OrientedBoxes, UprightBoxes
from y12.exporter.train.network import TrainingNetwork, start_scores_low

BOXES = {"class", "box", "dfl"}
TASKS = [
    ("yolov12n", BOXES),
    ("yolov12n-v1", BOXES),
    ("yolov8n-seg", BOXES | {"mask"}),
    ("yolo11n-pose", BOXES | {"keypoints", "visibility"}),
    ("yolov12n-obb", BOXES),
    ("yolov12n-multitask", BOXES | {"mask"}),
    ("yolov12n-cls", {"class"}),
]


def network_of(name: str, options: LossOptions | None = None, freeze: int = 0) -> TrainingNetwork:
    torch.manual_seed(0)
    detector = detector_from_spec(spec_from_name(name, nc=3))
    start_scores_low(detector)
    return TrainingNetwork(detector, options or LossOptions(), freeze)


@pytest.mark.parametrize(("name", "expected"), TASKS, ids=[name for name, _ in TASKS])
def test_every_parameter_learns_and_the_losses_fall(name: str, expected: set[str]) -> None:
    # So many places an object that each level has some, which a few objects in small images do not give otherwise.
    network, batch = network_of(name, LossOptions(align=AlignOptions(topk=100))), batch_of()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=2e-3)
    totals = []
    for _ in range(8):
        losses = network(batch)
        assert set(losses) == expected
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        if not totals:
            unmoved = [k for k, p in network.named_parameters() if p.requires_grad and not _moves(p)]
            assert not unmoved
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.8 * totals[0], totals


def _moves(parameter: torch.Tensor) -> bool:
    return parameter.grad is not None and bool(parameter.grad.isfinite().all()) and bool(parameter.grad.any())


@pytest.mark.parametrize("name", ["yolov12n", "yolov12n-multitask", "yolo11n-pose", "yolov12n-obb"])
def test_images_without_objects_teach_background_only(name: str) -> None:
    network, batch = network_of(name), batch_of()
    empty = replace(batch.targets, present=torch.zeros_like(batch.targets.present))
    losses = network(Batch(batch.images, empty))
    assert losses["class"] > 0
    assert all(loss == 0 for key, loss in losses.items() if key != "class")
    torch.stack(list(losses.values())).sum().backward()  # has a graph, as with several devices all parameters must


def test_no_place_for_objects_at_all() -> None:
    batch = batch_of()
    none = replace(batch.targets, **{k: v[:, :0] for k, v in vars(batch.targets).items()})
    losses = network_of("yolov12n-multitask")(Batch(batch.images, none))
    assert losses["box"] == losses["mask"] == 0


def test_weights_multiply_losses() -> None:
    batch = batch_of()
    once = network_of("yolov12n")(batch)
    other = network_of("yolov12n", LossOptions(classes=2.0, box=5.0, distribution=1.0))(batch)
    ratios = {k: (v / once[k]).item() for k, v in other.items()}
    assert ratios == pytest.approx(dict.fromkeys(once, 2.0), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iou": "siou"}, "--iou-loss: expected one of iou, giou, diou, ciou, found 'siou'"),
        ({"class_loss": "mse"}, "--class-loss: expected one of bce, focal, varifocal, found 'mse'"),
        ({"box": -1.0}, "weights of losses: expected numbers of 0 or more"),
        ({"mask": math.nan}, "weights of losses: expected numbers of 0 or more"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        LossOptions(**options)


def test_frozen_rows_stay_as_they_are() -> None:
    network, batch = network_of("yolov12n", freeze=3), batch_of()
    before = {k: v.clone() for k, v in network.detector.model[:3].state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network.train()
    torch.stack(list(network(batch).values())).sum().backward()
    optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in network.detector.model[:3].state_dict().items())
    assert not torch.equal(
        network.detector.model[3].bn.running_mean, detector_from_spec(network.detector.spec).model[3].bn.running_mean
    )


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(OptionsError, match="--freeze: expected fewer than the network's 22 rows, found 22"):
        network_of("yolov12n", freeze=22)


class TestDistances:
    """What a head is told to predict is what it decodes to the object's box."""

    def test_upright(self) -> None:
        batch = batch_of()
        head, grid, positives = _everywhere("yolov12n", batch)
        distances = UprightBoxes.distances(positives, batch.targets, grid)
        boxes = head.boxes(_exact_logits(distances, positives, grid[0].shape[1]), grid)
        assert UprightBoxes(boxes, "ciou").fit(positives, batch.targets).tolist() == pytest.approx(
            [1.0] * len(positives.image), abs=1e-3
        )

    def test_oriented(self) -> None:
        batch = batch_of()
        head, grid, positives = _everywhere("yolov12n-obb", batch)
        assert isinstance(head, OBB)
        distances = OrientedBoxes.distances(positives, batch.targets, grid)
        angle = torch.full((2, 1, grid[0].shape[1]), math.pi / 6)
        boxes = head.rotated_boxes(_exact_logits(distances, positives, grid[0].shape[1]), angle, grid)
        fit = OrientedBoxes(boxes, angle[:, 0]).fit(positives, batch.targets)
        assert fit.tolist() == pytest.approx([1.0] * len(fit), abs=2e-2)  # ProbIoU is steep near 1


def _everywhere(name: str, batch: Batch) -> tuple:
    """Return each image's first object to all places near its centre."""
    detector: Detector = detector_from_spec(spec_from_name(name, nc=3))
    maps = [torch.zeros(2, 1, 64 // s, 64 // s) for s in detector.spec.strides]
    grid = cell_centres(maps, detector.spec.strides)
    places = (grid[0] * grid[1]).T
    box = batch.targets.boxes[0, 0]
    near = ((places - (box[:2] + box[2:]) / 2).abs() < 12).all(1)
    object_of = torch.where(near, 0, -1).expand(2, -1)
    positives = Positives.of(Assignment(object_of, near.float().expand(2, -1)))
    assert len(positives.image) > 8
    return detector.head, grid, positives


def _exact_logits(distances: torch.Tensor, positives: Positives, places: int) -> torch.Tensor:
    """Return logits (B, 64, A) whose distribution has each distance as its mean: two neighbouring bins."""
    low = distances.floor().clamp(0, REG_MAX - 2)
    share = distances - low
    bins = torch.arange(REG_MAX)
    weight = (bins == low[..., None]) * (1 - share[..., None]) + (bins == low[..., None] + 1) * share[..., None]
    logits = torch.zeros(2, 4 * REG_MAX, places)
    logits[positives.image, :, positives.place] = weight.clamp(min=1e-12).log().flatten(1)
    return logits
