"""Print what y12 depends on, one a line, by its pyproject.toml, so that no image has a list of its own.

usage: requirements.py EXTRA,EXTRA [PACKAGE,PACKAGE to leave out]
"""

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def requirements(extras: list[str], without: list[str]) -> list[str]:
    """Give y12's own requirements and those of its extras, each once, but for the packages in `without`.

    Raises:
        SystemExit: there is no such extra, or a package to leave out is in none of them.
    """
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    groups = project["optional-dependencies"]
    unknown = [extra for extra in extras if extra not in groups]
    if unknown:
        sys.exit(f"Y12_EXTRAS: expected some of {', '.join(groups)}, found {unknown[0]!r}")
    wanted = dict.fromkeys([*project["dependencies"], *(line for extra in extras for line in groups[extra])])
    names = {line: re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in wanted}
    missing = [name for name in without if name not in names.values()]
    if missing:
        sys.exit(f"Y12_WITHOUT: expected some of {', '.join(names.values())}, found {missing[0]!r}")
    return [line for line, name in names.items() if name not in without]


if __name__ == "__main__":
    extras, without = ([part for part in text.split(",") if part] for text in [*sys.argv[1:], "", ""][:2])
    sys.stdout.write("".join(f"{line}\n" for line in requirements(extras, without)))
