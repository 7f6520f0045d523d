"""Every image a user could send: decoded right, or refused in one line."""

import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, features

from y12.errors import InputError
from y12.files import HEIF_SUFFIXES, IMAGE_SUFFIXES
from y12.runtime.preprocess import images
from y12.runtime.preprocess.images import image_from

PIL = "images/awkward/pillow/"
DECODED = {  # file: (height, width) once upright
    **{f"images/awkward/exif/Landscape_{i}.jpg": (1200, 1800) for i in range(9)},
    PIL + "1_trns.png": (64, 64),
    PIL + "apng_mode_16bit.png": (64, 128),
    PIL + "apng_mode_grayscale_alpha.png": (64, 128),
    PIL + "avif_hopper.avif": (128, 128),
    PIL + "avif_rot1mir1.avif": (
        427,
        640,
    ),  # stored as 640 high with irot and imir; libavif gives orientation 7
    PIL + "blend_transparency.png": (1, 1),
    PIL + "broken_exif_dpi.jpg": (100, 100),
    PIL + "exif_imagemagick_orientation.png": (512, 512),
    PIL + "frozenpond.mpo": (480, 640),
    PIL + "hopper.jpg": (128, 128),
    PIL + "hopper.webp": (128, 128),
    PIL + "hopper_16bit_qtables.jpg": (128, 128),
    PIL + "hopper_bad_exif.jpg": (500, 500),
    PIL + "hopper_gray.jpg": (128, 128),
    **{f"{PIL}hopper_orientation_{i}.jpg": (128, 128) for i in range(2, 9)},
    PIL + "hopper_orientation_6.webp": (128, 128),
    PIL + "icc_profile_big.jpg": (250, 425),
    PIL + "invalid-exif.jpg": (200, 200),
    PIL + "jpeg_ff00_header.jpg": (225, 300),
    PIL + "junk_jpeg_header.jpg": (768, 1024),
    PIL + "l_trns.png": (64, 64),
    PIL + "no_palette.gif": (1, 1),
    PIL + "orientation_rectangle.jpg": (2, 1),
    PIL + "p_16.png": (128, 128),
    PIL + "pil_sample_cmyk.jpg": (100, 100),
    PIL + "pil_sample_rgb.jpg": (100, 100),
    PIL + "rgb_trns.png": (64, 64),
    PIL + "tRNS_null_1x1.png": (1, 1),
    PIL + "tiff_strip_cmyk_jpeg.tif": (100, 100),
    PIL + "tiff_strip_planar_16bit_RGB.tiff": (40, 100),
    PIL + "tiny.png": (4, 4),
    PIL + "transparent.png": (150, 200),
    PIL + "transparent.webp": (150, 200),
    PIL + "truncated_app14.jpg": (100, 100),
    PIL + "uncompressed_la.png": (128, 128),
}
REFUSED = {  # file: what the message must hold
    PIL + "bmp_b_badbitcount.bmp": "BMP pixel depth",
    PIL + "bmp_b_badwidth.bmp": "pixels",
    PIL + "broken.png": "damaged or a foreign file",
    PIL + "broken_data_stream.png": "unrecognized data stream",
    PIL + "decompression_bomb.gif": "pixels",
    PIL + "png_decompression_dos.png": "too large",
    PIL + "truncated_end_chunk.png": "Truncated",
    PIL + "truncated_image.png": "truncated",
    PIL + "truncated_jpeg.jpg": "truncated",
    PIL + "ultrahdr.jpg": "truncated",  # its scan data ends after the first marker
}


def near(a, b):
    """Mean absolute difference in gray levels."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_tables_name_every_awkward_file(shared):
    folder = shared / "images/awkward"
    there = {str(p.relative_to(shared)) for p in folder.glob("*/*") if not p.name.startswith("LICENSE")}
    assert there == set(DECODED) | set(REFUSED)


@pytest.mark.parametrize(("name", "hw"), DECODED.items())
def test_decodes(shared, name, hw):
    image = image_from(shared / name)
    assert (image.shape, image.dtype) == ((*hw, 3), np.uint8)
    assert image.flags.c_contiguous
    assert image.flags.writeable


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_refuses_in_one_line(shared, name, reason):
    with pytest.raises(InputError) as caught:
        image_from(shared / name)
    message = str(caught.value)
    assert message.startswith(str(shared / name))
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientations_come_out_alike(shared, orientation):
    upright = image_from(shared / "images/awkward/exif/Landscape_1.jpg")
    turned = image_from(shared / f"images/awkward/exif/Landscape_{orientation}.jpg")
    assert near(upright, turned) < 4  # each file was compressed anew (1.3-2.6 measured); a wrong turn gives 60


def test_webp_and_png_orientation_is_applied(shared):
    folder = shared / PIL
    with Image.open(folder / "hopper_orientation_6.webp") as stored:
        expected = np.rot90(np.asarray(stored.convert("RGB")), -1)[..., ::-1]
    assert np.array_equal(image_from(folder / "hopper_orientation_6.webp"), expected)
    with Image.open(folder / "exif_imagemagick_orientation.png") as stored:
        expected = np.rot90(np.asarray(stored.convert("RGB")), 2)[..., ::-1]
    assert np.array_equal(image_from(folder / "exif_imagemagick_orientation.png"), expected)


@pytest.mark.parametrize("name", sorted(n for n in DECODED if n.startswith(PIL)))
def test_agrees_with_opencv(shared, name):
    ignores_rotation = {"avif_rot1mir1.avif", "hopper_orientation_6.webp", "exif_imagemagick_orientation.png"}
    if Path(name).name in ignores_rotation:
        with Image.open(shared / name) as stored:
            assert stored.getexif().get(0x0112) in (3, 6, 7)
        return  # whether OpenCV applies these depends on its version; they have tests of their own
    theirs = cv2.imread(str(shared / name), cv2.IMREAD_COLOR)
    assert near(image_from(shared / name), theirs) < 1  # CMYK conversions round differently (0.71 measured)


def test_sixteen_bit_planar_tiff(shared):
    path = shared / PIL / "tiff_strip_planar_16bit_RGB.tiff"
    theirs = cv2.imread(str(path), cv2.IMREAD_COLOR)  # libtiff rounds to eight bits; we keep the high byte
    assert np.abs(image_from(path).astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_what_is_listed_as_an_image_can_be_decoded(tmp_path, suffix):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this build of Pillow has no AVIF")
    if suffix in HEIF_SUFFIXES:
        pytest.skip("there is a file of its own for these")
    path = tmp_path / f"gray{suffix}"
    Image.new("L", (24, 16), 128).save(path)
    assert image_from(path).shape == (16, 24, 3)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_sixteen_bit_gray_is_scaled_not_clipped(tmp_path, suffix):
    gray = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    path = tmp_path / f"gray{suffix}"
    assert cv2.imwrite(str(path), gray)
    assert np.array_equal(image_from(path), np.repeat((gray // 256).astype(np.uint8)[..., None], 3, axis=2))


def test_sixteen_bit_colour_png_is_scaled(tmp_path, rng):
    colour = rng.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "c.png"), colour)
    assert np.array_equal(image_from(tmp_path / "c.png"), (colour // 256).astype(np.uint8))


def test_cmyk_is_near_its_rgb_twin(shared):
    cmyk, rgb = (image_from(shared / PIL / f"pil_sample_{mode}.jpg") for mode in ("cmyk", "rgb"))
    assert near(cmyk, rgb) < 5


def test_alpha_is_dropped_not_blended(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[..., 0] = 200  # red, fully transparent
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    assert image_from(tmp_path / "clear.png").tolist() == [[[0, 0, 200]] * 2] * 2


def test_palette_with_transparency_table_does_not_warn(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=bytes([0, 128]))
    assert image_from(tmp_path / "p.png").tolist() == [[[0, 0, 255], [0, 255, 0]]]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_first_frame_of_an_animation(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = tmp_path / f"two{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    blue, green, red = image_from(path)[4, 4].astype(int)
    assert (red > 200, green < 60, blue < 60) == (True, True, True)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((2, 3, 3), 7, np.uint8), (2, 3, 3)),
        (np.full((2, 3), 7, np.uint8), (2, 3, 3)),  # gray
        (np.full((2, 3, 1), 7, np.uint8), (2, 3, 3)),
        (np.full((2, 3, 4), 7, np.uint8), (2, 3, 3)),  # BGRA
        (np.full((3, 640, 3), 7, np.uint8), (3, 640, 3)),  # three rows, not CHW
        (np.full((4, 6, 3), 7, np.uint8)[::2, ::-1], (2, 6, 3)),  # a view with strides
    ],
)
def test_arrays(array, expected):
    image = image_from(array)
    assert (image.shape, image.dtype) == (expected, np.uint8)
    assert image.flags.c_contiguous
    assert (image == 7).all()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (np.zeros((3, 64, 64), np.uint8), "looks like CHW"),
        (np.zeros((64, 64, 3), np.float32), "expected a uint8"),
        (np.zeros((64, 64, 3), np.int16), "expected a uint8.*or a uint16 one, found int16"),
        (np.zeros((64, 64, 2), np.uint8), r"found uint8 \(64, 64, 2\)"),
        (np.zeros((1, 64, 64, 3), np.uint8), r"\(1, 64, 64, 3\)"),
        (np.zeros((0, 64, 3), np.uint8), r"\(0, 64, 3\)"),
        (np.zeros((), np.uint8), r"\(\)"),
        ([[1, 2]], "found builtins.list"),
        (None, "found builtins.NoneType"),
        (b"bytes", "found builtins.bytes"),
    ],
)
def test_refuses_what_is_no_image(source, reason):
    with pytest.raises(InputError, match=reason):
        image_from(source)


def test_pil_image_and_its_orientation():
    image = Image.new("RGB", (4, 2), (10, 20, 30))
    assert image_from(image)[0, 0].tolist() == [30, 20, 10]
    image.getexif()[0x0112] = 6
    assert image_from(image).shape == (4, 2, 3)


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_refuses_modes_without_a_meaning_in_eight_bits(mode):
    with pytest.raises(InputError, match=f"mode '{mode}'"):
        image_from(Image.new(mode, (2, 2)))


def test_files_that_are_none(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, reason in [
        (tmp_path, "a directory"),
        (tmp_path / "missing.jpg", "No such file"),
        (tmp_path / "empty.jpg", "found 0"),
        (tmp_path / "pipe.jpg", "a pipe"),  # would block for ever if it were opened
        (Path("a\0b.jpg"), "null byte"),
        (tmp_path / ("x" * 300), "too long"),
    ]:
        with pytest.raises(InputError, match=reason):
            image_from(path)


def test_limits_are_checked_before_decoding(tmp_path, monkeypatch):
    path = tmp_path / "one.png"
    Image.new("RGB", (20, 10)).save(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 199)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(InputError, match="1 to 199 pixels, found 20x10"):
        image_from(path)
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 10)
    with pytest.raises(InputError, match="1 to 10 bytes"):
        image_from(path)


def test_a_hundred_megapixels_open_without_a_warning(tmp_path):
    """Pillow warns from 89 megapixels on; the warning must neither show nor stop us."""
    path = tmp_path / "large.png"
    Image.new("1", (11_648, 8_736)).save(path)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert image_from(path).shape == (8_736, 11_648, 3)
    assert not seen


def test_foreign_formats_are_not_tried(tmp_path):
    """PostScript would be handed to Ghostscript."""
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(InputError, match="foreign file"):
        image_from(tmp_path / "x.png")
