"""y12-bundle triton: model repositories for Triton Inference Server."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from y12.runtime.cli.app import Command, Options, main_of
from y12.runtime.cli.options import OUTPUT, Artefact, option


@dataclass(frozen=True, kw_only=True)
class Triton(Options):
    """What can be asked of y12-bundle triton."""

    least_mib: ClassVar[int] = 0

    artefact: Artefact
    output: Annotated[
        Path,
        option(
            "--output",
            metavar="DIR",
            panel=OUTPUT,
            help="folder to write: new, or empty",
        ),
    ]
    exist_ok: Annotated[
        bool, option("--exist-ok", panel=OUTPUT, help="replace an earlier bundle of the same model in DIR")
    ] = False

    def run(self) -> int:
        """Write the repositories, or hold those that are there against the artefact."""
        raise NotImplementedError


COMMAND = Command(
    "triton", "Write an artefact as model repositories for Triton Inference Server.", Triton, completion=False
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    return main_of(COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
