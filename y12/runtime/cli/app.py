"""How a command line is read: typer parses it and explains it, and what is wrong with it is said in y12's words.

A command is a frozen dataclass: its fields are the options (`Annotated[type, typer.Option(...)]`), and its `run` is
what it does with them. Help is plain text, or drawn with colours where a terminal reads it.
"""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Annotated, ClassVar, Literal

import click
import typer
from typer.core import TyperCommand
from typer.main import get_command

from y12.runtime.cli.common import EXIT_PIPE_CLOSED, EXIT_USAGE, check_memory, check_output, put, run_command, say
from y12.text import shown

__all__ = ["SETTINGS", "Command", "Options", "Version", "command_line", "main_of", "run", "terminal_style"]

SETTINGS = {"help_option_names": ["-h", "--help"]}
_WORDS: ContextVar[tuple[str, ...]] = ContextVar("words of the command line", default=())
REST = "Options"  # the heading of what a command has of typer: help, completion, and --version


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        put(f"y12 {version('y12')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print y12's version")]


@dataclass(frozen=True, kw_only=True)
class Options(ABC):
    """What every command can be asked; a command adds its own fields.

    Attributes:
        least_mib: without so much memory it is not begun; 0 where nothing large is loaded.
    """

    least_mib: ClassVar[int] = 128

    version: Version = False

    @abstractmethod
    def run(self) -> int:
        """Do what was asked, and give the exit code."""


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: as it is typed, such as "y12-infer".
        help: what it does, in a sentence or more.
        options: what can be asked of it; a class of fields.
        completion: whether a shell can be taught to complete it, which takes a name of one word.
    """

    name: str
    help: str
    options: type[Options]
    completion: bool = True

    def parser(self) -> click.Command:
        """Return what reads its command line, and gives an instance of `options`."""
        app = typer.Typer(
            add_completion=self.completion, rich_markup_mode=terminal_style(), pretty_exceptions_enable=False
        )
        app.command(self.name, help=self.help, cls=_Parser, context_settings=SETTINGS | {"allow_extra_args": True})(
            self.options
        )
        return get_command(app)


def main_of(command: Command, argv: Sequence[str] | None) -> int:
    """Read a command line (the process' own where None), do what it says, and give the exit code."""
    return run(command.parser(), command.name, sys.argv[1:] if argv is None else argv)


def command_line() -> str:
    """Return the command line that is being obeyed, as it would be typed; empty where no command is.

    It stands in reports, which are passed on: signatures of addresses are left out.
    """
    import shlex

    from y12.remote.address import unsigned

    return shlex.join(map(unsigned, _WORDS.get()))


def run(parser: click.Command, name: str, arguments: Sequence[str]) -> int:
    """Read the arguments of the command that is typed as `name`, do what they say, and give the exit code."""

    def body() -> int:
        try:
            asked = parser.main(list(arguments), name, standalone_mode=False)
        except click.UsageError as error:
            say(f"error: {_in_words(error)}")
            return EXIT_USAGE
        except click.Abort:  # Ctrl-C, as typer has it
            raise KeyboardInterrupt from None
        except SystemExit as end:  # a shell that completes has its answer; 1: whoever read the help went away
            return EXIT_PIPE_CLOSED if end.code == 1 else 0
        check_output()
        if not isinstance(asked, Options):
            return int(asked or 0)  # --help and its like have printed
        if asked.least_mib:
            check_memory(asked.least_mib)
        return asked.run()

    before = _WORDS.set((*name.split(), *arguments))
    try:
        return run_command(body)
    finally:
        _WORDS.reset(before)


def terminal_style() -> Literal["rich"] | None:
    """Return how help is to be drawn: plain where no terminal reads it, or where it is asked for."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return None if plain or sys.stdout is None or not sys.stdout.isatty() else "rich"  # None: it was closed


class _Parser(TyperCommand):
    """A command whose plain help has the same headings as the drawn one, and which takes no option for a value."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write arguments and options under their headings."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            usual = "Arguments" if isinstance(param, click.Argument) else REST
            heading = getattr(param, "rich_help_panel", None) or usual
            if record := param.get_help_record(ctx):
                panels.setdefault(heading, []).append(record)
        for heading in sorted(panels, key=lambda heading: (heading == REST, heading != "Arguments")):  # a stable sort
            with formatter.section(heading):
                formatter.write_dl(panels[heading], col_max=24)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; what click would take in silence, or say in many words, is refused here."""
        options = {name: p for p in self.get_params(ctx) if isinstance(p, click.Option) for name in p.opts}
        for word, following in pairwise(takewhile(lambda word: word != "--", args)):
            if following in options and word in options and not options[word].is_flag and not ctx.resilient_parsing:
                raise click.UsageError(f"{word}: expected a value, found the option {following}", ctx)
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # some of click's errors do not know it
            raise
        if ctx.args and not ctx.resilient_parsing:
            usage = " ".join(self.collect_usage_pieces(ctx))
            raise click.UsageError(f"expected {usage}, found {shown(ctx.args[0])} too", ctx)
        return rest


def _in_words(error: click.UsageError) -> str:
    """Return what is wrong with a command line: what was expected, what was found, and what to do."""
    program = error.ctx.command_path if error.ctx else "the command"
    match error:
        case click.NoSuchOption():
            near = list(error.possibilities or ())  # the nearest first
            remedy = f"did you mean {near[0]}?" if near else f"{program} --help lists them"
            return f"expected an option of {program}, found {shown(error.option_name)}; {remedy}"
        case click.MissingParameter() if error.param is not None:
            return f"expected {_name(error.param)}, found none; {program} --help explains it"
        case click.BadParameter() if error.param is not None:
            return f"{_name(error.param)}: {error.message}"
        case click.BadOptionUsage():
            flag = any(isinstance(p, click.Option) and p.is_flag for p in _named(error))
            found = "expected no value, found one" if flag else "expected a value, found none"
            return f"{error.option_name}: {found}; {program} --help explains it"
        case _:  # of y12's own words
            return error.message


def _name(param: click.Parameter) -> str:
    return param.opts[0] if isinstance(param, click.Option) else str(param.metavar or param.name).strip("[]")


def _named(error: click.BadOptionUsage) -> list[click.Parameter]:
    return [p for p in error.ctx.command.params if error.option_name in p.opts] if error.ctx else []
