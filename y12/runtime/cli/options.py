"""Options that several commands share, each declared once."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NewType

import typer

from y12.errors import InputError
from y12.runtime.cli.addresses import ByAddress
from y12.runtime.cli.common import say
from y12.runtime.cli.values import at_least, gpu_numbers, image_size, member_of, reader, whole_numbers

if TYPE_CHECKING:
    from y12.runtime.session import Runtime

THRESHOLDS = {"conf": "conf", "iou": "iou", "max_det": "max_det", "classes": "classes", "agnostic": "agnostic_nms"}

# Of its own kind, as typer would take a tuple for an option of several words.
Numbers = NewType("Numbers", tuple[int, ...])

RUNNING, NMS, OUTPUT = "Running", "NMS and what is kept", "Output"
_OWN = "default: what is part of the artefact's graph, else"

Provider = StrEnum("Provider", ["AUTO", "CPU", "CUDA"])
# y12.runtime.artefact.manifest.TASKS, which a command's help does not wait for
Task = StrEnum("Task", ["DETECT", "SEGMENT", "POSE", "OBB", "CLASSIFY", "MULTITASK"])


def option(*names: str, panel: str, help: str, parser: Any = None, metavar: str | None = None) -> Any:
    """Declare an option under a heading of the help."""
    return typer.Option(*names, rich_help_panel=panel, help=help, parser=parser, metavar=metavar)


def choice(
    kind: type[StrEnum], *names: str, help: str, panel: str, aliases: Mapping[str, StrEnum] | None = None
) -> Any:
    """Declare an option that takes one of the values of an enum, or another name for one of them."""
    return typer.Option(
        *names,
        parser=member_of(kind, aliases or {}),
        metavar="|".join(kind),
        autocompletion=lambda: [*kind, *(aliases or ())],
        help=help,
        rich_help_panel=panel,
    )


whole = reader(int, "a whole number")
number = reader(float, "a number")
positive = reader(at_least(1, int), "a whole number of 1 or more")
_class_ids = reader(whole_numbers, "class ids such as 0,2,5")
_gpus = reader(
    gpu_numbers, "the number of a GPU, or of several, such as 0 or 0,1 (--provider cpu runs an .onnx on the CPU)"
)

Artefact = Annotated[
    str,
    typer.Argument(
        metavar="ARTEFACT", show_default=False, help="an .onnx or .engine made by y12-export, or its https:// address"
    ),
]
Json = Annotated[bool, option("--json", help="print one JSON object", panel=OUTPUT)]

Conf = Annotated[
    float | None,
    option(
        "--conf",
        "--conf-thres",
        parser=number,
        metavar="SCORE",
        panel=NMS,
        help=f"keep boxes scored above this ({_OWN} 0.25; all of a classifier's)",
    ),
]
Iou = Annotated[
    float | None,
    option(
        "--iou", "--iou-thres", parser=number, metavar="IOU", panel=NMS, help=f"overlap that suppresses ({_OWN} 0.7)"
    ),
]
MaxDet = Annotated[
    int | None,
    option(
        "--max-det",
        parser=whole,
        metavar="N",
        panel=NMS,
        help=f"boxes per image at most ({_OWN} 300; a classifier's classes: 5)",
    ),
]
BatchSize = Annotated[
    int | None,
    option(
        "--batch",
        parser=positive,
        metavar="N",
        panel=RUNNING,
        help="images per run of the network (default: the fewest that it takes)",
    ),
]
NamedClasses = Annotated[
    str | None,
    option("--classes", metavar="ID|NAME,...", panel=NMS, help="keep these classes only, by id or name: person,car"),
]
Classes = Annotated[
    Numbers | None, option("--classes", parser=_class_ids, metavar="ID,ID", panel=NMS, help="keep these class ids only")
]
AgnosticNms = Annotated[
    bool | None, option("--agnostic-nms", panel=NMS, help="let boxes suppress each other across classes")
]

Bits = Annotated[
    int | None,
    option(
        "--bits",
        parser=reader(at_least(1, int, below=17), "a whole number from 1 to 16"),
        metavar="N",
        panel=RUNNING,
        help="how many bits 16-bit images hold, such as 12; default: what each file says, else all",
    ),
]


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions(ByAddress):
    """What chooses the artefact and how it runs."""

    artefact: Artefact
    imgsz: Annotated[
        Numbers | None,
        option(
            parser=reader(image_size, "640, or 480,640 as height,width"),
            metavar="N|H,W",
            panel=RUNNING,
            help="input size; default: what the artefact was made for",
        ),
    ] = None
    rect: Annotated[
        bool,
        option(
            "--rect",
            panel=RUNNING,
            help="give each image the smallest input that holds it, in place of gray bars; of an artefact whose sides "
            "are free",
        ),
    ] = False
    bits: Bits = None
    reduced_decode: Annotated[
        bool,
        option(
            "--reduced-decode",
            panel=RUNNING,
            help="decode JPEGs at 1/2, 1/4 or 1/8 of their size where the network's input is no larger: faster, with "
            "other results; for an .onnx",
        ),
    ] = False
    provider: Annotated[
        Provider,
        choice(Provider, "--provider", panel=RUNNING, help="where an .onnx runs; an engine always runs on the GPU"),
    ] = Provider.AUTO
    devices: Annotated[
        Numbers,
        option(
            "--device",
            parser=_gpus,
            metavar="N",
            panel=RUNNING,
            help="which GPU, as CUDA counts them; for y12-infer and y12-serve several too: 0,1",
        ),
    ] = Numbers((0,))
    task: Annotated[
        Task | None,
        choice(Task, "--task", panel=RUNNING, help="refuse an artefact for another task; default: take any"),
    ] = None

    timeout: Annotated[
        float | None,
        option(
            parser=number,
            metavar="S",
            panel=RUNNING,
            help="seconds that a run of the network may take; default: as long as it takes",
        ),
    ] = None

    @property
    def input_hw(self) -> tuple[int, int] | None:
        """The input size asked for, one number meaning a square."""
        return None if self.imgsz is None else (self.imgsz[0], self.imgsz[-1])

    @property
    def device(self) -> int:
        """The one GPU asked for.

        Raises:
            InputError: there are several.
        """
        if len(self.devices) > 1:
            raise InputError(
                f"--device: expected one GPU, found {_listed(self.devices)}; y12-infer and y12-serve take several"
            )
        return self.devices[0]

    def open(self, *, throughput: bool = False) -> "Runtime":
        """Open the artefact as was asked.

        Raises:
            Y12Error: whatever `Runtime` refuses.
        """
        return _noted(self._opened(self.fetched(self.artefact), self.device, throughput))

    def open_each(self, stack: ExitStack, *, throughput: bool = False) -> "list[Runtime]":
        """Open the artefact on each of the GPUs asked for, or for `throughput`; `stack` closes what is open.

        Raises:
            InputError: there are not so many.
            Y12Error: whatever `Runtime` refuses.
        """
        if len(self.devices) == 1:
            return [stack.enter_context(self.open(throughput=throughput))]
        self._check_gpus()
        artefact = self.fetched(self.artefact)
        runtimes = [stack.enter_context(self._opened(artefact, device)) for device in self.devices]
        _noted(runtimes[0])
        return runtimes

    def _check_gpus(self) -> None:
        from y12.runtime.gpu.cuda import gpu_names

        wanted = _listed(self.devices)
        if self.provider is Provider.CPU:
            raise InputError(
                f"--device: expected one place to run, found {wanted} and --provider cpu: drop one of them"
            )
        names = gpu_names()
        if max(self.devices) >= len(names):
            there = ", ".join(f"{i}: {name}" for i, name in enumerate(names)) or "none that CUDA finds"
            raise InputError(f"--device: expected the GPUs {wanted} on this machine, found {there}")

    def _opened(self, artefact: str, device: int, throughput: bool = False) -> "Runtime":
        from y12.runtime.options import GpuOptions
        from y12.runtime.session import Runtime

        return Runtime(
            artefact,
            gpu=GpuOptions(device=device),
            imgsz=self.input_hw,
            rect=self.rect,
            bits=self.bits,
            reduced_decode=self.reduced_decode,
            provider=self.provider.value,
            throughput=throughput,
            task=None if self.task is None else self.task.value,
            timeout=self.timeout,
        )


def _noted(runtime: "Runtime") -> "Runtime":
    for note in runtime.artefact.notes:
        say(f"note: {note}")
    return runtime


def _listed(numbers: Numbers) -> str:
    return ",".join(map(str, numbers))


def given(asked: object, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what was asked of these options, under other names: `names` leads from those to the options' own."""
    values = {name: getattr(asked, option) for name, option in names.items()}
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in values.items()
        if value is not None
    }
