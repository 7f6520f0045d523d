"""What a command asks that takes a file by its address too, and the one place where it gets at that file."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, overload

import typer

from y12.runtime.cli.app import Options
from y12.runtime.cli.values import at_least, reader

if TYPE_CHECKING:
    from y12.remote.options import FetchOptions

PANEL = "Models by address"
_GIB = 1 << 30


_gibibytes = reader(at_least(math.ulp(0.0), float), "a size in GiB, more than 0")


@dataclass(frozen=True, kw_only=True)
class ByAddress(Options):
    """How a file is fetched that is named by its address."""

    sha256: Annotated[
        str | None,
        typer.Option(
            "--sha256", metavar="HEX", rich_help_panel=PANEL, help="refuse a file with another hash before it is opened"
        ),
    ] = None
    max_download: Annotated[
        float,
        typer.Option(
            "--max-download", parser=_gibibytes, metavar="GiB", rich_help_panel=PANEL, help="fetch no larger file"
        ),
    ] = 2.0
    plain_http: Annotated[
        bool,
        typer.Option(
            "--plain-http",
            rich_help_panel=PANEL,
            help="allow http:// beyond this machine, which anyone on the way reads",
        ),
    ] = False
    offline: Annotated[
        bool, typer.Option("--offline", rich_help_panel=PANEL, help="use what was fetched before, and ask nobody")
    ] = False

    @property
    def fetch(self) -> "FetchOptions":
        """How it is fetched.

        Raises:
            OptionsError: the hash is none.
        """
        from y12.remote.options import FetchOptions

        return FetchOptions(
            sha256=self.sha256,
            max_bytes=max(1, round(min(self.max_download, 1 << 20) * _GIB)),
            plain_http=self.plain_http,
            offline=self.offline,
        )

    @overload
    def fetched(self, source: str) -> str: ...
    @overload
    def fetched(self, source: str | None) -> str | None: ...
    def fetched(self, source: str | None) -> str | None:
        """Return the path of a file; one that is named by its address is brought to this machine first.

        Raises:
            Y12Error: it cannot be had, or has another hash; or there is a hash, and no file.
        """
        from y12.errors import OptionsError
        from y12.remote.local import local_path
        from y12.runtime.cli.progress import Progress

        options = self.fetch
        if source is None:
            if self.sha256 is not None:
                raise OptionsError(
                    "--sha256: expected a file to hold against it, found none named; name it, or drop it"
                )
            return None
        with Progress("fetch", "MiB") as progress:

            def advance(done: int, total: int | None) -> None:
                whole = None if total is None else -(-total >> 20)  # rounded up: nothing is 0 MiB
                progress(done >> 20, whole, share=done / total if total else None)

            return str(local_path(source, options, advance))
