"""Animations and many-paged files that end early are told, though their first picture is whole."""

import io
import struct

import numpy as np
import pytest
from cost import refusal, refused
from PIL import Image

from y12.runtime.preprocess.images import image_from

KINDS = {
    "gif": {},
    "png": {},
    "webp": {"lossless": True},
    "tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "big.tif": {"big_tiff": True},
    "avif": {},
}


def pictures(count):
    return [Image.fromarray(np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8)) for i in range(count)]


def written(kind, count):
    first, *rest = pictures(count)
    file = io.BytesIO()
    name = {"tif": "TIFF", "lzw.tif": "TIFF", "big.tif": "TIFF"}.get(kind, kind.upper())
    first.save(file, name, **({"save_all": True, "append_images": rest} if count > 1 else {}), **KINDS[kind])
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_whole_ones_are_read(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    for count in (1, 2, 5):
        for after in (b"", b"\0\0", b"junk"):
            path.write_bytes(written(kind, count) + after)
            assert refusal(kind, lambda: image_from(path), seconds=1, mib=64) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_cut_ones_are_told(tmp_path, kind):
    content, first = written(kind, 3), len(written(kind, 1))
    path = tmp_path / f"x.{kind}"
    for end in {*range(first + 8, len(content) - 64, len(content) // 12), len(content) - 64}:
        path.write_bytes(content[:end])
        assert "x." in refused(f"{kind} up to {end}", lambda: image_from(path), seconds=1, mib=64)


def page(entries, next_page):
    return (
        struct.pack("<H", len(entries))
        + b"".join(struct.pack("<HHII", *e) for e in entries)
        + struct.pack("<I", next_page)
    )


FORGED = {  # more to look at than there is, or no end
    "pages in a circle": lambda: page([(273, 4, 1, 8)], 8),
    "a page of the most entries": lambda: page([(273, 4, 1 << 19, 8), (279, 4, 1 << 19, 8)] * 30_000, 8),
    "offsets that claim the whole space": lambda: page([(273, 16, (1 << 32) - 1, 8), (279, 16, (1 << 32) - 1, 8)], 0),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tiffs_cost_no_more_than_others(tmp_path, name):
    """The second page is forged; the first is a picture."""
    content = bytearray(written("tif", 1))
    at = struct.unpack_from("<I", content, 4)[0]
    after = at + 2 + 12 * struct.unpack_from("<H", content, at)[0]
    struct.pack_into("<I", content, after, len(content))
    path = tmp_path / "x.tif"
    path.write_bytes(bytes(content) + FORGED[name]())
    refusal(name, lambda: image_from(path), seconds=1, mib=128)


@pytest.mark.parametrize(
    "block", [b"\x21\xfe\x00", b"\x2c" + bytes(8) + b"\x00\x02\x00", b"\x21\xfe\x01\x00\x00", b"\x00"]
)
def test_gifs_of_many_small_blocks(tmp_path, block):
    path = tmp_path / "x.gif"
    path.write_bytes(written("gif", 1)[:-1] + block * ((2 << 20) // len(block)))
    refusal("gif", lambda: image_from(path), seconds=2, mib=64)
