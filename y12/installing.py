"""The pip command that adds an extra of y12; it works whether or not an index has y12 itself."""

import re
from pathlib import Path

__all__ = ["install_command", "requirements_of"]

_OF_EXTRA = re.compile(r"""\s*extra\s*==\s*['"]([\w-]+)['"]\s*""")
_CHECKOUT = Path(__file__).resolve().parents[1]


def install_command(*extras: str, upgrade: bool = False) -> str:
    """Return the command that installs what these extras ask for.

    It names the packages, not y12: they are the same for a checkout, a wheel and a repository's URL, y12 is not
    installed a second time, and no index needs to have it.
    """
    wanted = requirements_of(*extras) or [_again(extras)]
    return " ".join(["pip install", *["--upgrade"] * upgrade, *(f"'{requirement}'" for requirement in wanted)])


def requirements_of(*extras: str) -> list[str]:
    """Return the requirements of these extras, each once, as the installed y12 states them; none if it states none."""
    from importlib import metadata  # takes longer to load than all of y12 that runs without it

    try:
        lines = metadata.requires("y12") or []
    except metadata.PackageNotFoundError:  # the sources are on the path, but were never installed
        return []
    found: dict[str, None] = {}
    for extra in extras:
        for line in lines:
            requirement, _, marker = line.partition(";")
            of_extra = _OF_EXTRA.fullmatch(marker)
            if of_extra and of_extra[1] == extra:
                found[requirement.strip()] = None
    return list(found)


def _again(extras: tuple[str, ...]) -> str:
    """Name y12 itself with the extras: its checkout, where the sources are in one."""
    place = str(_CHECKOUT) if (_CHECKOUT / "pyproject.toml").is_file() else "y12"
    return f"{place}[{','.join(extras)}]"
