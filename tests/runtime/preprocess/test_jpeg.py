"""JPEGs: the same pixels by whichever decoder, none but ordinary ones by OpenCV, and reduced ones in their place."""

import io
import json
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from y12.errors import InputError
from y12.runtime.cli.infer import main as infer
from y12.runtime.preprocess.crop import centre_crop
from y12.runtime.preprocess.images import Reading, image_from, image_from_bytes
from y12.runtime.preprocess.jpeg import ordinary_jpeg
from y12.runtime.preprocess.letterbox import letterbox
from y12.runtime.preprocess.reduced import ReducedImage, factor_for
from y12.runtime.session import Runtime

ODD, EVEN = (83, 61), (96, 128)
KINDS = {
    "4:2:0": {"subsampling": 2},
    "4:2:2": {"subsampling": 1},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "not transformed": {"keep_rgb": True},
    "optimised": {"optimize": True},
    "gray": {},
}
AWKWARD = "images/awkward/pillow/"


def scene(hw):
    """Return a smooth picture, every part of which differs from every other, as RGB."""
    y, x = np.mgrid[: hw[0], : hw[1]] / np.array(hw)[:, None, None]
    return np.rint(np.stack([255 * x, 255 * y, 120 * np.sin(9 * x * y) + 128], -1)).clip(0, 255).astype(np.uint8)


def jpeg(hw=ODD, orientation=None, mode="RGB", **options):
    exif, file = Image.Exif(), io.BytesIO()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(scene(hw)).convert(mode).save(file, "JPEG", quality=95, exif=exif, **options)
    return file.getvalue()


def by_pillow(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))[..., ::-1]


@pytest.mark.parametrize("hw", [ODD, EVEN])
@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_ones_have_the_pixels_that_pillow_gives(kind, hw):
    content = jpeg(hw, mode="L" if kind == "gray" else "RGB", **KINDS[kind])
    np.testing.assert_array_equal(ordinary_jpeg(content, hw), by_pillow(content))
    np.testing.assert_array_equal(image_from_bytes(content, "a"), by_pillow(content))


def parts(content):
    """Take a JPEG apart: what comes before its frame, the frame, and the rest."""
    at = next(i for i in range(len(content)) if content[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))
    end = at + 2 + struct.unpack_from(">H", content, at + 2)[0]
    return content[:at], content[at:end], content[end:]


def with_frame(change):
    head, frame, rest = parts(jpeg())
    return head + change(frame) + rest


OTHERS = {
    "arithmetic coding": lambda: with_frame(lambda frame: b"\xff\xc9" + frame[2:]),
    "lossless": lambda: with_frame(lambda frame: b"\xff\xc3" + frame[2:]),
    "12 bits": lambda: with_frame(lambda frame: frame[:4] + b"\x0c" + frame[5:]),
    "another size": lambda: with_frame(lambda frame: frame[:5] + struct.pack(">HH", 60_000, 60_000) + frame[9:]),
    "a second frame, of another size": lambda: with_frame(
        lambda frame: frame + frame[:5] + struct.pack(">HH", 60_000, 60_000) + frame[9:]
    ),
    "two frames": lambda: with_frame(lambda frame: 2 * frame),
    "no frame": lambda: with_frame(lambda frame: b""),
    "CMYK": lambda: jpeg(mode="CMYK"),
    "junk between segments": lambda: with_frame(lambda frame: b"junk" + frame),
    "bytes that fill": lambda: with_frame(lambda frame: b"\xff\xff" + frame),
    "a segment of no length": lambda: with_frame(lambda frame: b"\xff\xe3\0\0" + frame),
    "no end": lambda: jpeg()[:-2],
    "an end in its header alone": lambda: with_frame(lambda frame: b"\xff\xfe\0\4\xff\xd9" + frame)[:-2],
    "no pixels": lambda: parts(jpeg())[0],
    "nothing": lambda: b"\xff\xd8",
}


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_left_to_pillow(monkeypatch, name):
    """Before any room is made for pixels: OpenCV does not see them."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    assert ordinary_jpeg(OTHERS[name](), ODD) is None


@pytest.mark.parametrize("kind", ["4:2:0", "progressive", "not transformed", "restarts"])
def test_cut_ones_are_refused_wherever_they_end(kind):
    content = jpeg(**KINDS[kind])
    for end in {*range(4, len(content), 37), *range(len(content) - 12, len(content))}:
        with pytest.raises(InputError, match=r"^a: "):
            image_from_bytes(content[:end], "a")


def test_what_opencv_does_not_decode_pillow_does(monkeypatch):
    content = jpeg()
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    np.testing.assert_array_equal(image_from_bytes(content, "a"), by_pillow(content))


def test_factors():
    assert [factor_for(scale) for scale in (1.5, 0.51, 0.5, 0.26, 0.25, 0.126, 0.125, 0.01)] == [1, 1, 2, 2, 4, 4, 8, 8]


def reading(input_hw, deciding=min):
    return Reading(scale_of=lambda hw: deciding(input_hw[0] / hw[0], input_hw[1] / hw[1]))


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("hw", [(256, 384), (261, 389), (517, 391)])  # that 8 divides, and that it does not
def test_reduced_ones_lie_where_the_whole_ones_do(hw, orientation):
    content = jpeg(hw, orientation)
    whole = image_from_bytes(content, "a")
    for side in (32, 64, 128):  # 1/8 or 1/4, 1/4, 1/2
        reduced = reading((side, side)).image_from_bytes(content, "a")
        assert isinstance(reduced, ReducedImage)
        assert reduced.image_hw == whole.shape[:2]
        assert min(reduced.bgr.shape[:2]) >= letterbox(whole, (side, side))[1].resized_hw[int(hw[0] < hw[1])] // 2
        (expected, frame), (found, own) = letterbox(whole, (side, side)), letterbox(reduced, (side, side))
        assert own == frame
        off = found.astype(int) - expected
        assert np.abs(off).max() <= 8  # in a picture that goes from 0 to 255 over the side
        assert abs(off.mean()) < 0.4  # a shift by half a pixel of the input would be 1 to 4


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_reduced_ones_are_cropped_where_the_whole_ones_are(orientation):
    content = jpeg((517, 391), orientation)
    reduced = reading((64, 64), max).image_from_bytes(content, "a")
    assert isinstance(reduced, ReducedImage)
    (expected, frame), (found, own) = (centre_crop(i, (64, 64)) for i in (image_from_bytes(content, "a"), reduced))
    assert own == frame
    assert np.abs(found.astype(int) - expected).mean() < 1


def test_what_cannot_be_reduced_is_whole(shared, tmp_path):
    small = reading((8, 8))
    for name in (
        "pil_sample_cmyk.jpg",
        "apng_mode_16bit.png",
        "hopper.webp",
        "transparent.png",
        "junk_jpeg_header.jpg",
    ):
        np.testing.assert_array_equal(small.image(shared / AWKWARD / name), image_from(shared / AWKWARD / name))
    (tmp_path / "a.jpg").write_bytes(jpeg(EVEN))
    with Image.open(tmp_path / "a.jpg") as image:  # it is the user's
        np.testing.assert_array_equal(small.image(image), image_from(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(reading(EVEN).image(tmp_path / "a.jpg"), image_from(tmp_path / "a.jpg"))
    for i in (1, 6):
        assert small.image(shared / f"images/awkward/exif/Landscape_{i}.jpg").image_hw == (1200, 1800)


def test_a_runtime_reads_so_where_it_is_asked(make_onnx, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg((517, 391), 6))
    with Runtime(make_onnx()) as full, Runtime(make_onnx(), reduced_decode=True) as reduced:
        assert isinstance(full.reading.image(path), np.ndarray)
        assert isinstance(reduced.reading.image(path), ReducedImage)
        expected = full.infer(path, conf=0.01)
        for found in (reduced.infer(path, conf=0.01), *reduced.stream([path], conf=0.01)):
            assert found.image_hw == expected.image_hw == (391, 517)
            np.testing.assert_array_equal(found.xyxy, expected.xyxy)
            np.testing.assert_allclose(found.confidence, expected.confidence, atol=0.005)
            assert found.plot().shape == (391, 517, 3)


def test_y12_infer_draws_whole_pictures(make_onnx, tmp_path, capsys):
    path, artefact = tmp_path / "a.jpg", str(make_onnx())
    path.write_bytes(jpeg((517, 391), 6))
    asked = [artefact, str(path), "--json", "--conf", "0.01", "--reduced-decode"]
    assert infer(asked) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["height"], record["width"]) == (391, 517)
    assert infer([*asked, "--save", str(tmp_path / "drawn"), "--save-crop", str(tmp_path / "crops")]) == 0
    assert image_from(tmp_path / "drawn" / "a_annotated.jpg").shape == (391, 517, 3)
