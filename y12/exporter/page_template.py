"""What the HTML pages have in common: how a template is read, and what lets a page's own style through its policy."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["environment_in", "style_hash"]


def environment_in(folder: Path, shown: Callable[[object], object]) -> "Environment":
    """Return what reads the templates of a folder: everything is escaped, and a name that is not there is an error.

    Args:
        folder: where the templates are.
        shown: makes each value fit to be shown.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style_hash(style: str) -> str:
    """Return a style's SHA-256 as a Content-Security-Policy has it."""
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
