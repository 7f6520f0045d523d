"""y12: lists the commands, and calls them: `y12 export …` is `y12-export …`.

A command's module is imported when the command is called, so that the list, and the help of one command, wait for no
other.
"""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated

import click
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from y12.runtime.cli.app import SETTINGS, Command, run, terminal_style
from y12.runtime.cli.common import put
from y12.text import shown

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
}
HELP = (
    "Take a YOLOv12-family model to a verified ONNX graph or TensorRT engine, and run it. COMMAND --help explains one."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Call the command that is named first, or list all, and give the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return run(_parser(), "y12", arguments if set(arguments) - {"--"} else ["--help"])


class _Commands(TyperGroup):
    """The commands by name; which of them is loaded is decided by the command line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order in which they are told."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return what the list shows of a command."""
        return TyperCommand(cmd_name, short_help=COMMANDS[cmd_name][1]) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named first, and what is left for it to read."""
        name, *rest = args
        if name not in COMMANDS:
            near = get_close_matches(name, COMMANDS, n=1)
            remedy = f"did you mean {near[0]}?" if near else "y12 alone lists them"
            raise click.UsageError(f"expected a command of y12, found {shown(name)}; {remedy}", ctx)
        command: Command = import_module(COMMANDS[name][0]).COMMAND
        return name, command.parser(), rest


Version = Annotated[bool, typer.Option("--version", help="print y12's version")]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", help="with --version: also the versions, processor and GPU that a report of a fault needs"
    ),
]


def _parser() -> click.Command:
    app = typer.Typer(cls=_Commands, rich_markup_mode=terminal_style(), pretty_exceptions_enable=False)

    def y12(context: typer.Context, version: Version = False, verbose: Verbose = False) -> None:
        """Take what is asked before a command: of y12 itself."""
        if verbose and not version:
            raise click.UsageError(
                "--verbose: expected --version with it, found none; do: y12 --version --verbose", context
            )
        if version:
            _print_version(verbose)
            raise typer.Exit

    app.callback(help=HELP, subcommand_metavar="COMMAND ...", context_settings=SETTINGS, invoke_without_command=True)(
        y12
    )
    return get_command(app)


def _print_version(verbose: bool) -> None:
    from importlib.metadata import version

    if not verbose:
        put(f"y12 {version('y12')}")
        return
    from y12.runtime.cli.about import about

    for line in about():
        put(line)


if __name__ == "__main__":
    sys.exit(main())
