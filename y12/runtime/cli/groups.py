"""A command that has commands of its own: `y12 export`, `y12-bundle triton`.

The module of one is imported when it is called, so that the list, and the help of one, wait for no other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module

import click
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from y12.runtime.cli.app import SETTINGS, Version, terminal_style
from y12.text import shown

__all__ = ["CommandGroup"]


def _version_alone(version: Version = False) -> None:
    """Take what --version takes; there is nothing to do but the command's."""


@dataclass(frozen=True)
class CommandGroup:
    """A command whose first word names another.

    Attributes:
        name: as it is typed, such as "y12".
        help: what it does, in a sentence or more.
        commands: by name: the module whose `COMMAND` it is, and what the list says of it.
        options: takes what can be asked of the group itself, and is called before the command.
    """

    name: str
    help: str
    commands: Mapping[str, tuple[str, str]]
    options: Callable[..., None] = _version_alone

    def parser(self) -> click.Command:
        """Return what reads its command line, and gives an instance of the named command's options."""
        commands = self.commands

        class Group(_Group):
            own_commands = commands

        app = typer.Typer(cls=Group, rich_markup_mode=terminal_style(), pretty_exceptions_enable=False)

        app.callback(
            help=self.help,
            subcommand_metavar="COMMAND ...",
            context_settings=SETTINGS,
            invoke_without_command=self.options is not _version_alone,
        )(self.options)
        return get_command(app)


class _Group(TyperGroup):
    """The commands by name; which of them is loaded is decided by the command line."""

    own_commands: Mapping[str, tuple[str, str]]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order in which they are told."""
        return list(self.own_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return what the list shows of a command."""
        commands = self.own_commands
        return TyperCommand(cmd_name, short_help=commands[cmd_name][1]) if cmd_name in commands else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named first, and what is left for it to read."""
        name, *rest = args
        commands, typed = self.own_commands, ctx.command_path
        if name not in commands:
            near = get_close_matches(name, commands, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"{typed} alone lists them"
            raise click.UsageError(f"expected a command of {typed}, found {shown(name)}; {remedy}", ctx)
        return name, import_module(commands[name][0]).COMMAND.parser(), rest
