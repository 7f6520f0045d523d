"""A font that has the script of a text: Pillow's own, else one that is found on this machine."""

import logging
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

__all__ = ["font_for"]

LOG = logging.getLogger("y12.fonts")
MAX_FILES = 500  # that are opened; a font takes about a millisecond
_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
# What the names of fonts that have many scripts, or those of the Far East, contain: these are tried first.
_HINTS = (
    *("sanscjk", "notosans-regular", "dejavusans.", "wqy", "fallback", "unifont", "arialuni", "msyh", "yugoth"),
    *("malgun", "pingfang", "hiragino", "applesdgothic", "nanumgothic", "ipag", "freesans."),
)
_NO_CHARACTER = "\U0010ffff"  # no font has it: it looks as what is missing looks
_COMBINING = "\u0300"  # from here on Pillow's own font has next to nothing
_TRIED_SIZE = 24
_told: set[str] = set()  # the characters that were named as missing


def font_for(text: str, size: int) -> "Font":
    """Return a font of `size` pixels that has the characters of `text`, or most of them; the lack is logged once."""
    file, missing = _file_for(frozenset(text.replace(" ", ""))) if not text.isascii() else (None, frozenset())
    if missing and not _told:
        _told.update(missing)
        LOG.warning(
            "no font here has %s, which is drawn as boxes: install one, such as Debian's fonts-noto-cjk or fonts-noto",
            " ".join(sorted(missing)[:8]),
        )
    return _loaded(file, size)


@lru_cache(maxsize=32)
def _loaded(file: str | None, size: int) -> "Font":
    from PIL import ImageFont

    return ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)


@lru_cache(maxsize=1024)
def _file_for(characters: frozenset[str]) -> tuple[str | None, frozenset[str]]:
    """Return the font that lacks the fewest of `characters`, None for Pillow's own, and what it lacks."""
    from PIL import ImageFont

    best: str | None = None
    latin = frozenset(c for c in characters if c < _COMBINING)
    missing = characters - latin | _lacking(ImageFont.load_default(_TRIED_SIZE), latin)
    for file in _files() if missing else ():
        try:
            # One character at a time: what shapes whole texts would put a lone accent on a circle, and so show it.
            font = ImageFont.truetype(file, _TRIED_SIZE, layout_engine=ImageFont.Layout.BASIC)
            lacks = _lacking(font, characters)
        except (OSError, ValueError):  # damaged, or of a kind that FreeType does not read
            continue
        if len(lacks) < len(missing):
            best, missing = file, lacks
        if not missing:
            break
    return best, missing


def _lacking(font: "Font", characters: frozenset[str]) -> frozenset[str]:
    """Return those that look as what is missing looks."""
    if not characters:
        return characters
    blank = _glyph(font, _NO_CHARACTER)
    return frozenset(c for c in characters if _glyph(font, c) == blank)


def _glyph(font: "Font", character: str) -> tuple[tuple[int, int], bytes] | None:
    try:
        glyph = font.getmask(character)
    except UnicodeEncodeError:  # the bitmap font of a Pillow without FreeType
        return None
    return glyph.size, bytes(glyph)


@lru_cache(maxsize=1)
def _files() -> tuple[str, ...]:
    """Return the fonts of this machine, those first that are likely to have a script."""
    found = sorted({file for folder in _folders() for file in _fonts_in(folder)}, key=_rank)
    return tuple(found[:MAX_FILES])


def _rank(file: str) -> tuple[bool, bool, str]:
    name = os.path.basename(file).lower()
    styled = any(word in name for word in ("bold", "italic", "oblique", "black", "light", "thin", "mono", "serif"))
    return not any(hint in name for hint in _HINTS), styled, file


def _fonts_in(folder: Path) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        yield from (os.path.join(place, name) for name in names if name.lower().endswith(_SUFFIXES))


def _folders() -> list[Path]:
    home = Path(os.path.expanduser("~"))
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts"), home / "AppData/Local/Microsoft/Windows/Fonts"]
    data = os.environ.get("XDG_DATA_HOME") or home / ".local/share"
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path(data, "fonts"), home / ".fonts"]
