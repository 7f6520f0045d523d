"""What every command of y12 does the same way: exit codes, messages, and numbers from text.

Exit codes: 0 done, 1 a Y12Error (one line on standard error), 2 a wrong command line, 130 interrupted,
141 whoever read standard output went away.
"""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from y12.errors import MissingPackageError, Y12Error
from y12.runtime.artefact.manifest import TASKS

if TYPE_CHECKING:
    from y12.runtime.options import DetectOptions
    from y12.runtime.session import Runtime

# Of the packages that are imported under another name than PyPI has them: what to ask pip for.
_ON_PYPI = {"lightning_fabric": "lightning-fabric", "yaml": "pyyaml"}

EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PIPE_CLOSED = 1, 130, 141


def run_command(body: Callable[[], int]) -> int:
    """Run a command's body and give its exit code; a Y12Error becomes one line, a bug keeps its traceback."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # a command's standard error is for its own messages; -W shows them
    try:
        code = body()
        sys.stdout.flush()
    except Y12Error as error:
        say(f"error: {one_line(error)}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return EXIT_PIPE_CLOSED
    return code


def _drop_output() -> None:
    """Lead standard output nowhere: at its end Python writes what is left in it, and would say that it failed (120)."""
    with contextlib.suppress(OSError):  # one that is no file, as in a test, has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str) -> None:
    """Write a message for people to standard error."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201


def put(text: str) -> None:
    """Write data to standard output, line by line, so that a pipe sees it at once."""
    print(text, flush=True)  # noqa: T201


def one_line(error: Exception) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split())


def image_size(text: str) -> int | tuple[int, int]:
    """Read --imgsz: "640", or "480,640" as height, width."""
    parts = [int(part) for part in text.replace("x", ",").split(",")]
    if len(parts) not in (1, 2) or min(parts) < 1:
        raise argparse.ArgumentTypeError(f"expected 640, or 480,640 as height,width; found {text!r}")
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found {text!r}")
    return value


def class_ids(text: str) -> tuple[int, ...]:
    """Read --classes: "0,2,5"."""
    return tuple(int(part) for part in text.split(","))


def add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what chooses the artefact and how it runs."""
    parser.add_argument("artefact", metavar="ARTEFACT", help="an .onnx or .engine made by y12-export")
    parser.add_argument(
        "--imgsz",
        type=image_size,
        metavar="N|H,W",
        help="input size; default: what the artefact was made for",
    )
    parser.add_argument(
        "--provider",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where an .onnx runs; an engine always runs on the GPU (default: %(default)s)",
    )
    parser.add_argument(
        "--device", type=int, default=0, metavar="N", help="which GPU, as CUDA counts them (default: %(default)s)"
    )
    parser.add_argument("--task", choices=TASKS, help="refuse an artefact for another task; default: take any")


def open_runtime(arguments: argparse.Namespace) -> "Runtime":
    """Open the artefact as `add_runtime_arguments` says.

    Raises:
        Y12Error: whatever `Runtime` refuses.
    """
    from y12.runtime.session import GpuOptions, Runtime

    gpu = GpuOptions(device=arguments.device)
    chosen = {"imgsz": arguments.imgsz, "provider": arguments.provider, "task": arguments.task}
    return Runtime(arguments.artefact, gpu=gpu, **chosen)


def add_threshold_arguments(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add the thresholds: `DetectOptions`; what is left out is as the artefact's own options say."""
    add: Any = parser.add_argument
    own = "default: what is part of the artefact's graph, else"
    add("--conf", "--conf-thres", type=float, help=f"keep boxes scored above this ({own} 0.25; all of a classifier's)")
    add("--iou", "--iou-thres", type=float, help=f"overlap that suppresses ({own} 0.7)")
    add("--max-det", type=int, help=f"boxes per image at most ({own} 300; a classifier's classes: 5)")
    add("--classes", type=class_ids, metavar="ID,ID", help="keep these class ids only")
    add("--agnostic-nms", action="store_true", default=None, help="let boxes suppress each other across classes")


def options_from(arguments: argparse.Namespace, own: "DetectOptions") -> "DetectOptions":
    """Return the artefact's own options with what the command line says otherwise.

    Raises:
        InputError: a value is out of range.
    """
    given = {
        "conf": arguments.conf,
        "iou": arguments.iou,
        "max_det": arguments.max_det,
        "classes": arguments.classes,
        "agnostic": arguments.agnostic_nms,
    }
    return replace(own, **{name: value for name, value in given.items() if value is not None})


def require_packages(packages: Iterable[str], extra: str, program: str) -> None:
    """Refuse in one line where y12 was installed without an extra.

    Args:
        packages: of the extra, as they are imported.
        extra: which holds them.
        program: the command, or its option, that needs them.

    Raises:
        MissingPackageError: a package of it is not installed.
    """
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise MissingPackageError(_ON_PYPI.get(package, package), extra, program)
