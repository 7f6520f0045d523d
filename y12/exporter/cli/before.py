"""What can be refused before a command loads what takes seconds: a file that is not there, a name that is none."""

import os
from collections.abc import Mapping
from pathlib import Path

from y12.errors import OptionsError

__all__ = ["check_there"]


def check_there(what: str, paths: Mapping[str, str | Path | None]) -> None:
    """Refuse a file or folder that is not there.

    Args:
        what: what is expected.
        paths: what was given, by the option's name; None where nothing was.

    Raises:
        OptionsError: there is nothing of that name.
    """
    for option, path in paths.items():
        if path is not None and not os.path.exists(path):  # unlike Path's, it takes a name that no file can have
            raise OptionsError(f"{option}: expected {what}, found nothing at {path}")
