"""HEIC and AVIF, told by their content: decoded within the bounds, or refused with the remedy."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image, features

from tests.each import each
from y12 import files
from y12.errors import InputError
from y12.exporter.data.sizes import header_hw
from y12.files import HEIF_SUFFIXES, IMAGE_SUFFIXES, unread_images
from y12.runtime.cli.infer import main as infer
from y12.runtime.preprocess import images, opening
from y12.runtime.preprocess.images import image_from, image_from_bytes

HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.fixture
def heif():
    """The package, which reads HEIC, and writes it for these tests."""
    return pytest.importorskip("pillow_heif", reason="the package pillow-heif of the extra heif is not installed")


@pytest.fixture
def colours():
    """Red above, blue below: 40 high, 64 wide."""
    rgb = np.zeros((40, 64, 3), np.uint8)
    rgb[:20, :, 0], rgb[20:, :, 2] = 255, 255
    return rgb


def heic_of(heif, rgb, **options):
    with io.BytesIO() as file:
        heif.from_pillow(Image.fromarray(rgb)).save(file, quality=-1, chroma=444, **options)
        return file.getvalue()


def check_colours(bgr):
    assert bgr.shape == (40, 64, 3)
    assert np.abs(bgr[5, 5].astype(int) - (0, 0, 255)).max() < 8
    assert np.abs(bgr[35, 60].astype(int) - (255, 0, 0)).max() < 8


def test_through_every_door_and_by_any_name(heif, colours, tmp_path):
    content = heic_of(heif, colours)
    for name in ("a.heic", "a.HEIC", "a.jpg", "a"):
        (tmp_path / name).write_bytes(content)
        check_colours(image_from(tmp_path / name))
        assert header_hw(tmp_path / name) == (40, 64)
    check_colours(image_from_bytes(content, "a"))
    check_colours(image_from(heif.open_heif(io.BytesIO(content)).to_pillow()))
    assert "HEIF" not in Image.OPEN  # a program's own Pillow stays as it was


def test_forms_of_it(heif, colours):
    alpha = np.dstack([colours, np.full((40, 64), 9, np.uint8)])
    check_colours(image_from_bytes(heic_of(heif, alpha), "alpha"))
    deep = heif.from_bytes("RGB;16", (64, 40), (colours.astype(np.uint16) * 257).tobytes())
    with io.BytesIO() as file:
        deep.save(file, quality=-1, chroma=444)  # of 10 bits
        check_colours(image_from_bytes(file.getvalue(), "10 bits"))
    two = heif.from_pillow(Image.fromarray(np.zeros((8, 8, 3), np.uint8)))
    two.add_from_pillow(Image.fromarray(colours))
    with io.BytesIO() as file:
        two.save(file, quality=-1, chroma=444, primary_index=1)
        check_colours(image_from_bytes(file.getvalue(), "the second is shown first"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_stands_upright_once(heif, colours, orientation, tmp_path):
    """As a JPEG with the same EXIF does; the container turns it, and EXIF says so a second time."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colours).save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    expected = image_from(tmp_path / "a.jpg")
    (tmp_path / "a.heic").write_bytes(heic_of(heif, colours, exif=exif.tobytes()))
    found = image_from(tmp_path / "a.heic")
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 3
    assert header_hw(tmp_path / "a.heic") == found.shape[:2]


def test_bounds(heif, colours, monkeypatch):
    content = heic_of(heif, colours)
    monkeypatch.setattr(images, "MAX_PIXELS", 2 * 40 * 64 - 1)
    with pytest.raises(InputError, match="a: expected a HEIF image of at most 2559 pixels, found 64x40"):
        image_from_bytes(content, "a")
    monkeypatch.setattr(images, "MAX_PIXELS", 40 * 64 - 1)
    with pytest.raises(InputError, match="a: expected an image of 1 to 2559 pixels, found 64x40"):
        image_from_bytes(content, "a")


def test_what_is_damaged_is_refused_in_one_line(heif, rng):
    content = heic_of(heif, rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))

    def check(damaged):
        with pytest.raises(InputError, match=r"^a: "):
            image_from_bytes(damaged, "a")

    each(((f"cut to {n}", content[:n]) for n in (12, 40, 200, len(content) // 2, len(content) - 1)), check)
    each((("a head alone", one) for one in (HEAD, HEAD + bytes(400))), check)


def test_a_folder_of_a_phone_s_pictures(heif, colours, make_onnx, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "IMG_1.HEIC").write_bytes(heic_of(heif, np.full((64, 64, 3), (255, 0, 0), np.uint8)))
    assert infer([str(make_onnx()), str(folder), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["counts"] == {"red": 1}
    assert "passed over" not in captured.err


def test_without_the_package_one_line_names_it(monkeypatch, make_onnx, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not there
    (tmp_path / "a.jpg").write_bytes(HEAD + bytes(100))
    assert infer([str(make_onnx()), str(tmp_path / "a.jpg")]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "a.jpg" in line]
    assert "a.jpg: expected the package 'pillow-heif' of y12's extra [heif] to read an HEIC with, found none" in line
    assert "found none: pip install '" in line
    assert line.endswith("or convert it to JPEG")


def test_without_it_a_folder_tells_what_it_takes():
    if files._HAS_HEIF:
        assert set(HEIF_SUFFIXES) <= IMAGE_SUFFIXES
        assert unread_images(["a.heic"]) == ()
        return
    assert not set(HEIF_SUFFIXES) & IMAGE_SUFFIXES
    (note,) = unread_images(["a.HEIC", "b.dng"])
    assert note.startswith(
        "2 pictures passed over: .HEIC, .dng is not read (a.HEIC, b.dng): convert to JPEG or PNG; .HEIC is with pip "
        "install '"
    )
    assert "pip" not in unread_images(["b.dng"])[0]


@pytest.mark.skipif(not features.check("avif"), reason="this build of Pillow has no AVIF")
def test_avif_is_pillow_s_own(colours, tmp_path, monkeypatch):
    Image.fromarray(colours).save(tmp_path / "a.avif", quality=100, subsampling="4:4:4")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.avif").read_bytes())
    for name in ("a.avif", "a.jpg"):
        check_colours(image_from(tmp_path / name))
    monkeypatch.setattr(opening, "_formats_here", lambda: ["JPEG"])
    with pytest.raises(InputError, match=r"a\.jpg: expected Pillow 11\.3 or later to read an AVIF"):
        image_from(tmp_path / "a.jpg")
