"""What may be chosen of training, refused at construction."""

from dataclasses import asdict, dataclass, field
from typing import Any

from y12.errors import OptionsError
from y12.exporter.train.losses.build import LossOptions

__all__ = ["PRECISIONS", "OptimizerOptions", "TuneOptions"]

PRECISIONS = {"auto": "", "32": "32-true", "bf16": "bf16-mixed"}  # as users and as Fabric call them


@dataclass(frozen=True)
class OptimizerOptions:
    """AdamW (arXiv 1711.05101) under a cosine schedule (arXiv 1608.03983) after a linear warm-up.

    Attributes:
        lr: the highest learning rate.
        final: the last learning rate, as a share of the highest.
        weight_decay: of convolutions' weights; biases and normalisations have none.
        warmup: steps over which the learning rate rises.
        clip: the largest norm of all gradients together.
        ema: how much of the averaged weights a step keeps, once there have been many steps.
    """

    lr: float = 1e-3
    final: float = 0.01
    weight_decay: float = 0.02
    warmup: int = 100
    clip: float = 10.0
    ema: float = 0.999

    def __post_init__(self) -> None:
        for name, low, high in (("lr", 0, 1), ("final", 0, 1), ("weight_decay", 0, 1), ("ema", 0, 1)):
            value = getattr(self, name)
            if not low <= value <= high or (name == "lr" and value == 0):
                raise OptionsError(f"--{name.replace('_', '-')}: expected a number from {low} to {high}, found {value}")
        if self.warmup < 0 or not self.clip > 0:
            raise OptionsError(f"optimizer: expected warmup >= 0 and clip > 0, found {self.warmup} and {self.clip}")


@dataclass(frozen=True)
class TuneOptions:
    """How to train.

    Attributes:
        epochs: passes over the images.
        batch: images a step, of all devices together.
        freeze: how many of the network's first rows keep their weights and BatchNorm statistics.
        seed: of new weights and of the order and augmentation of images.
        precision: one of `PRECISIONS`; "auto" is bf16 on a GPU and 32 on a CPU.
        accelerator: "auto", "cpu" or "cuda".
        devices: how many; 0 is all GPUs, or one CPU process.
        workers: processes that prepare images; 0 prepares them in between.
        validate_every: epochs between two measurements of accuracy; 0 measures at the end only.
        patience: epochs without a better accuracy after which training stops; 0 never stops.
        optimizer: the optimiser's and its schedule's.
        losses: what is learnt.
    """

    epochs: int = 100
    batch: int = 16
    freeze: int = 0
    seed: int = 0
    precision: str = "auto"
    accelerator: str = "auto"
    devices: int = 0
    workers: int = 0
    validate_every: int = 1
    patience: int = 0
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    losses: LossOptions = field(default_factory=LossOptions)

    def __post_init__(self) -> None:
        for name, least, most in (
            ("epochs", 1, 100_000),
            ("batch", 1, 4096),
            ("freeze", 0, 512),
            ("seed", 0, 2**31 - 2),
            ("devices", 0, 64),
            ("workers", 0, 256),
            ("validate_every", 0, 100_000),
            ("patience", 0, 100_000),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                option = name.replace("_", "-")
                raise OptionsError(f"--{option}: expected a whole number from {least} to {most}, found {value}")
        if self.patience and not self.validate_every:
            raise OptionsError("--patience: expected --validate-every of 1 or more, by which it stops, found 0")
        if self.precision not in PRECISIONS:
            raise OptionsError(f"--precision: expected one of {', '.join(PRECISIONS)}, found {self.precision!r}")
        if self.accelerator not in ("auto", "cpu", "cuda"):
            raise OptionsError(f"--device: expected auto, cpu or cuda, found {self.accelerator!r}")

    @property
    def decides_losses(self) -> dict[str, Any]:
        """What a resumed run must share with the one it goes on with; where it runs and when it ends are not."""
        shared = asdict(self)
        for name in ("accelerator", "devices", "workers", "validate_every", "patience"):
            del shared[name]
        return shared
