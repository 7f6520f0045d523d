"""What a training run begins with: a network for the data's classes, and weights for as much of it as fits."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from y12.errors import OptionsError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.metadata import MAX_LICENCE, UNKNOWN_LICENCE
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.detector import Detector
from y12.exporter.model.rows import ModelSpec
from y12.exporter.model.scaling import Ratios
from y12.exporter.model.spec import spec_from_name
from y12.exporter.train.network import start_scores_low

__all__ = ["Network", "NetworkChoice", "network_from", "starting_detector"]


@dataclass(frozen=True)
class Network:
    """Which network is to be trained.

    Attributes:
        spec: with as many classes as its file says.
        source: what weights are taken from, and `file` where that was read; None where all are new.
        licence: of what is trained from it, in words.
    """

    spec: ModelSpec
    source: Detector | None = None
    file: Path | None = None
    licence: str = "Trained with y12-tune from new weights: they are under the licence that who trained them gives."


@dataclass(frozen=True)
class NetworkChoice:
    """Which network is asked for.

    Attributes:
        model: a shipped model's name or a model YAML; None takes the network of the weights.
        weights: a checkpoint to begin with; None begins with new weights.
        scale: of a model YAML whose name tells none.
        ratios: of a model YAML, in place of its scale's.

    Raises:
        OptionsError: a scale or ratios are given, and no model.
    """

    model: str | None = None
    weights: Path | None = None
    scale: str | None = None
    ratios: Ratios = field(default_factory=Ratios)

    def __post_init__(self) -> None:
        if self.model is None and (self.scale is not None or self.ratios):
            raise OptionsError(
                "y12-tune: --scale, --depth, --width and --max-channels are of --model, and none was named: add it, or "
                "drop them"
            )

    @property
    def spec(self) -> ModelSpec | None:
        """The network of `model`; None where the weights tell it."""
        return None if self.model is None else spec_from_name(self.model, scale=self.scale, ratios=self.ratios)


def network_from(choice: NetworkChoice) -> Network:
    """Find the network that is named.

    Raises:
        OptionsError: neither a model nor weights are given, or it is a network that y12 does not train.
        ModelSpecError: there is no such model.
        CheckpointError: the weights are damaged or of no known network.
    """
    spec, weights = choice.spec, choice.weights
    if weights is None:
        if spec is None:
            raise OptionsError("y12-tune: expected a network to train: add --model yolov12n, or --weights FILE")
        return Network(_trainable(spec))
    checkpoint = read_checkpoint(weights)
    source = detector_from_checkpoint(checkpoint)
    spec = spec or source.spec
    licence = f"Trained with y12-tune from {weights.name:.80}. {checkpoint.licence or UNKNOWN_LICENCE}"[:MAX_LICENCE]
    return Network(_trainable(spec), source, weights, licence)


def _trainable(spec: ModelSpec) -> ModelSpec:
    """Return a network whose head y12 has losses for."""
    if spec.layers[-1].args.get("one_to_one"):
        raise OptionsError(
            f"y12-tune: {spec.name} has branches that predict each object once, which y12 exports and does not train; "
            "take another network, such as yolov12n"
        )
    return spec


def starting_detector(network: Network, names: tuple[str, ...], seed: int) -> tuple[Detector, str]:
    """Build a network for the data's classes, and say where its weights come from.

    Every tensor of the source is taken whose name and shape fit; the others are new.

    Args:
        network: what to build.
        names: the classes, by id.
        seed: of what is new.

    Raises:
        OptionsError: nothing of the source fits.
    """
    spec = _for_classes(network.spec, len(names))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        detector = detector_from_spec(spec)
        start_scores_low(detector)
    detector.names = names
    if network.source is None or network.file is None:
        return detector, f"{spec.name}: new weights, seed {seed}"
    return detector, f"{spec.name}: {_taken(detector, network.source, network.file)}"


def _for_classes(spec: ModelSpec, nc: int) -> ModelSpec:
    """Return the same network for another number of classes."""
    *rows, head = spec.layers
    return replace(spec, nc=nc, layers=(*rows, replace(head, args={**head.args, "nc": nc})))


def _taken(detector: Detector, source: Detector, file: Path) -> str:
    """Copy what fits, and say what was copied."""
    own, given = detector.state_dict(), source.state_dict()
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    learnt = [k for k in own if not k.endswith("num_batches_tracked")]
    new = [k for k in learnt if k not in fitting]
    if len(new) == len(learnt):
        raise OptionsError(
            f"--weights: expected weights for {detector.spec.name}, found {file} of {source.spec.name}, of which "
            "nothing fits; drop --model, or name other weights"
        )
    detector.load_state_dict({**own, **fitting})
    eps = {path: module.eps for path, module in source.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for path, module in detector.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps.get(path, next(iter(eps.values()), module.eps))  # one for all, as a file tells one
    taken = f"{len(learnt) - len(new)} of {len(learnt)} tensors from {file.name}"
    return taken + (f"; new: {', '.join(new[:3])}{' …' * (len(new) > 3)}" if new else "")
