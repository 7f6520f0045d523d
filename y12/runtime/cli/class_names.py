"""Classes that a command line names by their ids or their names."""

from typing import Annotated

from y12.errors import InputError
from y12.runtime.cli.options import NMS, option
from y12.text import NAME, shown, visible

__all__ = ["NamedClasses", "class_ids_of"]

NamedClasses = Annotated[
    str | None,
    option("--classes", metavar="ID|NAME,...", panel=NMS, help="keep these classes only, by id or name: person,car"),
]


def class_ids_of(words: str, names: tuple[str, ...]) -> tuple[int, ...]:
    """Return the ids that a list such as "0,person" means; a name that several classes have means all of them.

    A whole number is an id. Names are compared as they are written, then without regard to capitals.

    Raises:
        InputError: no class is called so; the nearest names are told.
    """
    found: dict[int, None] = {}
    for word in (part.strip() for part in words.split(",")):
        found.update(dict.fromkeys(_meant(word, names)))
    return tuple(found)


def _meant(word: str, names: tuple[str, ...]) -> list[int]:
    if word.removeprefix("-").isdecimal():
        return [int(word)]  # whether there is one is checked where all ids are
    alike = [number for number, name in enumerate(names) if name == word]
    alike = alike or [number for number, name in enumerate(names) if name.casefold() == word.casefold()]
    if alike:
        return alike
    from difflib import get_close_matches  # takes a while to load: only where there is something to say

    written = {name.casefold(): visible(name, NAME) for name in names}
    near = [written[name] for name in get_close_matches(word.casefold()[:80], list(written), n=3)]
    remedy = f"did you mean {' or '.join(near)}?" if near else "y12-inspect --json lists the names"
    raise InputError(f"--classes: expected ids or names of the model's classes, found {shown(word)}; {remedy}")
