"""y12-bundle: lists for whom a folder can be made, and calls what makes it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import click
import typer
from typer.core import TyperGroup
from typer.main import get_command

from y12.bundle.deepstream.cli import COMMAND as DEEPSTREAM
from y12.runtime.cli.app import SETTINGS, Command, Version, run, terminal_style
from y12.text import shown

__all__ = ["COMMAND", "main"]


@dataclass(frozen=True)
class Bundles:
    """A command of commands.

    Attributes:
        name: as it is typed.
        help: what they do.
        commands: each of which makes one kind of folder, by name.
    """

    name: str
    help: str
    commands: dict[str, Command]

    def parser(self) -> click.Command:
        """Return what reads its command line, and that of the command named in it."""
        app = typer.Typer(cls=_Kinds, rich_markup_mode=terminal_style(), pretty_exceptions_enable=False)

        def bundle(version: Version = False) -> None:
            """Take what --version takes; there is nothing to do but the command's."""

        app.callback(help=self.help, subcommand_metavar="COMMAND ...", context_settings=SETTINGS)(bundle)
        group = get_command(app)
        assert isinstance(group, click.Group)  # it has a callback
        for name, command in self.commands.items():
            group.add_command(command.parser(), name)
        return group


class _Kinds(TyperGroup):
    """The commands, which says in y12's words that one is not known."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named first, and what is left for it to read."""
        if args[0] not in self.commands:
            near = get_close_matches(args[0], self.commands, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"{ctx.command_path} --help lists them"
            raise click.UsageError(f"expected a command of {ctx.command_path}, found {shown(args[0])}; {remedy}", ctx)
        return super().resolve_command(ctx, args)


COMMAND = Bundles(
    "y12-bundle",
    "Put an artefact into a folder with all that another program needs to run it.",
    {"deepstream": DEEPSTREAM},
)


def main(argv: Sequence[str] | None = None) -> int:
    """Call what is named first, or list all, and give the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return run(COMMAND.parser(), COMMAND.name, arguments if set(arguments) - {"--"} else ["--help"])


if __name__ == "__main__":
    sys.exit(main())
