"""y12: lists the commands, and calls them: `y12 export …` is `y12-export …`."""

import sys
from collections.abc import Sequence
from typing import Annotated

import click
import typer

from y12.runtime.cli.app import run
from y12.runtime.cli.common import put
from y12.runtime.cli.groups import CommandGroup

__all__ = ["COMMANDS", "main"]

# By name: the module, and what the list says of it.
COMMANDS = {
    "export": ("y12.exporter.cli.export", "checkpoint, model name or .onnx to verified .onnx and engine"),
    "tune": ("y12.exporter.cli.tune", "train a network, or go on training one"),
    "infer": ("y12.runtime.cli.infer", "find objects in images, folders and videos"),
    "val": ("y12.exporter.cli.val", "COCO accuracy on labelled images"),
    "inspect": ("y12.runtime.cli.inspect", "say what a file is: input, precision, classes, the GPUs it runs on"),
    "bench": ("y12.runtime.cli.bench", "time each stage on this machine"),
    "serve": ("y12.serve.cli", "serve an artefact over HTTP"),
    "bundle": ("y12.bundle.cli", "write an artefact as a folder that other software serves"),
    "batch": ("y12.batch.cli", "find objects in more images than one process takes, on Ray"),
}
HELP = (
    "Take a YOLOv12-family model to a verified ONNX graph or TensorRT engine, and run it. COMMAND --help explains one."
)
Version = Annotated[bool, typer.Option("--version", help="print y12's version")]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", help="with --version: also the versions, processor and GPU that a report of a fault needs"
    ),
]


def main(argv: Sequence[str] | None = None) -> int:
    """Call the command that is named first, or list all, and give the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return run(COMMAND.parser(), "y12", arguments if set(arguments) - {"--"} else ["--help"])


def _of_y12(context: typer.Context, version: Version = False, verbose: Verbose = False) -> None:
    if verbose and not version:
        raise click.UsageError(
            "--verbose: expected --version with it, found none; do: y12 --version --verbose", context
        )
    if version:
        _print_version(verbose)
        raise typer.Exit


def _print_version(verbose: bool) -> None:
    from importlib.metadata import version

    if not verbose:
        put(f"y12 {version('y12')}")
        return
    from y12.runtime.cli.about import about

    for line in about():
        put(line)


COMMAND = CommandGroup("y12", HELP, COMMANDS, _of_y12)


if __name__ == "__main__":
    sys.exit(main())
