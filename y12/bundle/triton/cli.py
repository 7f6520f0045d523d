"""y12-bundle triton: model repositories for Triton Inference Server."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from y12.errors import OptionsError
from y12.runtime.cli.app import Command, Options, main_of
from y12.runtime.cli.common import put, require_packages, say
from y12.runtime.cli.options import OUTPUT, Artefact, choice, number, option, positive

if TYPE_CHECKING:
    from y12.bundle.triton.options import TritonOptions

SERVED = "How it is served"
Backend = StrEnum("Backend", ["TENSORRT", "ONNXRUNTIME", "PYTHON"])  # y12.bundle.triton.options.BACKENDS
Where = StrEnum("Where", ["AUTO", "CPU", "GPU"])


@dataclass(frozen=True, kw_only=True)
class Triton(Options):
    """What can be asked of y12-bundle triton."""

    least_mib: ClassVar[int] = 0

    artefact: Artefact
    output: Annotated[
        Path | None, option("--output", metavar="DIR", panel=OUTPUT, help="folder to write: a new one, or empty")
    ] = None
    exist_ok: Annotated[
        bool, option("--exist-ok", panel=OUTPUT, help="replace an earlier bundle of the same model in DIR")
    ] = False
    check: Annotated[
        Path | None,
        option(
            "--check",
            metavar="DIR",
            panel=OUTPUT,
            help="write nothing; hold the bundle or model repository in DIR against ARTEFACT",
        ),
    ] = None
    name: Annotated[
        str | None, option("--name", metavar="NAME", panel=SERVED, help="the model's name; default: the file's")
    ] = None
    backend: Annotated[
        Backend | None,
        choice(
            Backend,
            "--backend",
            panel=SERVED,
            help="write one repository only; default: that of the network (an .onnx: onnxruntime; an engine: "
            "tensorrt), and python",
        ),
    ] = None
    device: Annotated[
        Where,
        choice(
            Where, "--device", panel=SERVED, help="where instances run; auto: on GPUs where Triton finds any (auto)"
        ),
    ] = Where.AUTO
    instances: Annotated[
        int | None,
        option(
            parser=positive,
            metavar="N",
            panel=SERVED,
            help="instances of each model, on each device; default: 1 of the network, 2 of the model of images",
        ),
    ] = None
    queue: Annotated[
        int,
        option(parser=positive, metavar="N", panel=SERVED, help="requests that may wait; further ones get 503 (64)"),
    ] = 64
    max_wait_ms: Annotated[
        float,
        option(
            "--max-wait-ms",
            parser=number,
            metavar="MS",
            panel=SERVED,
            help="how long the first request of a batch waits for others (2)",
        ),
    ] = 2.0

    def run(self) -> int:
        """Write the repositories, or hold those that are there against the artefact."""
        match self.output, self.check:
            case Path() as folder, None:
                return _written(self, folder)
            case None, Path() as folder:
                return _checked(self, folder)
        found = "neither" if self.output is None else "both"
        raise OptionsError(f"expected either --output DIR to write, or --check DIR, found {found}")


COMMAND = Command(
    "triton",
    "Write an artefact as model repositories for Triton Inference Server, or check such that are there.",
    Triton,
    completion=False,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    return main_of(COMMAND, argv)


def _options(asked: Triton) -> "TritonOptions":
    from y12.bundle.triton.options import TritonOptions

    return TritonOptions(
        asked.name or Path(asked.artefact).stem,
        None if asked.backend is None else asked.backend.value,
        asked.device.value,
        asked.instances,
        asked.queue,
        round(asked.max_wait_ms * 1e3) if isfinite(asked.max_wait_ms) else -1,
    )


def _written(asked: Triton, folder: Path) -> int:
    from y12.bundle.folder import write_folder
    from y12.bundle.triton.models import models_of
    from y12.bundle.triton.write import files_of
    from y12.runtime.artefact.opened import open_artefact

    artefact, options = open_artefact(asked.artefact), _options(asked)
    for note in artefact.notes:
        say(f"note: {note}")
    models = models_of(artefact, options)
    write_folder(folder, "triton", options.name, files_of(artefact, models), asked.exist_ok)
    for model in models:
        put(f"wrote        {folder / model.repository / model.config.name}")
    put(f"wrote        {folder / 'README.md'}: how to serve it")
    return 0


def _checked(asked: Triton, folder: Path) -> int:
    """Print what is wrong with each model, or that nothing is.

    Raises:
        InputError: something is.
    """
    require_packages(("tritonclient", "grpc", "packaging"), "triton", "y12-bundle triton --check")
    from y12.bundle.triton.check import NOTE, configs_in, problems_of
    from y12.errors import InputError
    from y12.runtime.artefact.opened import open_artefact

    artefact, count = open_artefact(asked.artefact), 0
    for config in configs_in(folder):
        problems = list(problems_of(config, artefact))
        mistakes = [problem for problem in problems if not problem.startswith(NOTE)]
        put(*(f"{config}: {line}" for line in problems + ["fits the artefact"] * (not mistakes)))
        count += len(mistakes)
    if count:
        raise InputError(f"{folder}: expected models that fit {artefact.path}, found {count} mistake(s); see above")
    return 0


if __name__ == "__main__":
    sys.exit(main())
