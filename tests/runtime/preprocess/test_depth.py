"""16-bit images that hold fewer bits: by what the file says, by what the user says, through every door."""

import io
import json
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.each import each
from y12 import Runtime
from y12.errors import InputError
from y12.runtime.cli.infer import main as infer
from y12.runtime.preprocess import depth
from y12.runtime.preprocess.images import image_from, image_from_bytes

BYTES = np.linspace(0, 255, 48 * 40).astype(np.uint8).reshape(40, 48)  # what is to be seen
COLOURS = np.dstack([BYTES, BYTES[::-1], BYTES[:, ::-1]])  # BGR


@pytest.fixture(autouse=True)
def untold(monkeypatch):
    monkeypatch.setattr(depth, "_TOLD", set())


def held(pixels, bits):
    """The pixels as numbers of so many bits; below them what is lost again."""
    return (pixels.astype(np.uint16) << (bits - 8)) + (3 if bits > 9 else 0)


def png(numbers, significant=None):
    content = cv2.imencode(".png", numbers)[1].tobytes()
    if significant is None:
        return content
    chunk = b"sBIT" + bytes([significant] * (1 if numbers.ndim == 2 else numbers.shape[2]))
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return content[:33] + chunk + content[33:]  # after IHDR


def tiff(numbers, **tags):
    """A TIFF of gray numbers with more tags, by Pillow; of colours, by hand."""
    codes = {"least": 280, "most": 281, "black": 50714, "white": 50717}
    if numbers.ndim == 2:
        with io.BytesIO() as file:
            info = {codes[name]: value for name, value in tags.items()}
            Image.fromarray(numbers).save(file, "TIFF", tiffinfo=info)
            return file.getvalue()
    entries = {256: numbers.shape[1], 257: numbers.shape[0], 258: None, 259: 1, 262: 2, 273: None, 277: 3, 278: None}
    entries |= {279: None, **{codes[name]: value for name, value in tags.items()}}
    pixels = np.ascontiguousarray(numbers[..., ::-1], "<u2").tobytes()
    ends = 8 + 2 + 12 * len(entries) + 4
    entries |= {273: ends + 6, 278: numbers.shape[0], 279: len(pixels)}
    kinds = {273: "I", 279: "I"}
    rows = [
        struct.pack("<HHII", tag, 3, 3, ends)
        if tag == 258
        else struct.pack("<HHI", tag, 4 if tag in kinds else 3, 1) + struct.pack("<I", value)
        for tag, value in sorted(entries.items())
    ]
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(rows))
        + b"".join(rows)
        + bytes(4)
        + struct.pack("<HHH", 16, 16, 16)
        + pixels
    )


def packed_12_bits(numbers):
    """A gray TIFF of 12 bits per sample."""
    high, low = numbers.reshape(-1, 2).T.astype(np.uint32)
    both = high << 12 | low
    pixels = np.stack([both >> 16, both >> 8 & 255, both & 255], 1).astype(np.uint8).tobytes()
    values = {
        256: numbers.shape[1],
        257: numbers.shape[0],
        258: 12,
        259: 1,
        262: 1,
        273: 0,
        277: 1,
        278: numbers.shape[0],
    }
    values |= {279: len(pixels)}
    values[273] = 8 + 2 + 12 * len(values) + 4
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(values.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(values)) + rows + bytes(4) + pixels


def pgm(numbers, most):
    return f"P5 {numbers.shape[1]} {numbers.shape[0]} {most}\n".encode() + numbers.astype(">u2").tobytes()


STATED = {  # the file, what is to be seen
    "PNG sBIT 10": (png(held(BYTES, 10), 10), BYTES),
    "PNG sBIT 12": (png(held(BYTES, 12), 12), BYTES),
    "PNG sBIT 12, colours": (png(held(COLOURS, 12), 12), COLOURS),
    "PNG sBIT 10, colours and alpha": (png(held(np.dstack([COLOURS, BYTES]), 10), 10), COLOURS),
    "PNG sBIT 12, scaled up as the standard has it": (png(held(BYTES, 16), 12), BYTES),
    "PNG without": (png(held(BYTES, 16)), BYTES),
    "PNG without, colours": (png(held(COLOURS, 16)), COLOURS),
    "TIFF MaxSampleValue 1023": (tiff(held(BYTES, 10), most=1023), BYTES),
    "TIFF MaxSampleValue 4095, colours": (tiff(held(COLOURS, 12), most=4095), COLOURS),
    "TIFF Min and MaxSampleValue": (tiff(BYTES.astype(np.uint16) * 4 + 500, least=500, most=1520), BYTES),
    "TIFF MaxSampleValue that is exceeded": (tiff(held(BYTES, 16), most=1023), BYTES),
    "TIFF BitsPerSample 12": (packed_12_bits(held(BYTES, 12)), BYTES),
    "TIFF without": (tiff(held(BYTES, 16)), BYTES),
    "TIFF without, colours": (tiff(held(COLOURS, 16)), COLOURS),
    "DNG levels": (tiff(BYTES.astype(np.uint16) * 10 + 256, black=256, white=2806), BYTES),
    "PGM of 1023": (pgm(held(BYTES, 10), 1023), BYTES),
    "PGM of 65535": (pgm(held(BYTES, 16), 65535), BYTES),
}


def seen(image):
    return image[..., 0] if (image[..., :1] == image).all() else image


def opened(content):
    return image_from(Image.open(io.BytesIO(content)))


def check_seen(image, expected, tolerance=0):
    found = seen(image).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance


def test_what_a_file_says_counts(tmp_path):
    def check(case):
        content, expected = case
        (tmp_path / "a").write_bytes(content)
        for door in (
            lambda: image_from(tmp_path / "a"),
            lambda: image_from_bytes(content, "a"),
            lambda: opened(content),
        ):
            check_seen(door(), expected, tolerance=1)

    each(STATED.items(), check)


FILES = {"PNG": png, "TIFF": tiff}


def test_what_the_user_says_goes_before_it(tmp_path):
    def check(case):
        write, pixels, bits = case
        numbers = held(pixels, bits)
        content = write(numbers)
        (tmp_path / "a").write_bytes(content)
        check_seen(image_from(tmp_path / "a", bits), pixels)
        check_seen(image_from_bytes(content, "a", bits), pixels)
        check_seen(image_from(Image.open(io.BytesIO(content)), bits), pixels)
        check_seen(image_from(Image.open(tmp_path / "a"), bits), pixels)  # whose file Pillow closes
        check_seen(image_from(numbers, bits), pixels)
        check_seen(image_from(numbers[..., None] if numbers.ndim == 2 else numbers[:, :, :], bits), pixels)

    cases = [(write, pixels, bits) for write in FILES.values() for pixels in (BYTES, COLOURS) for bits in (10, 12, 14)]
    each(((f"{case[0].__name__} {case[1].ndim} {case[2]}", case) for case in cases), check)
    check_seen(image_from_bytes(tiff(held(BYTES, 12), most=65535), "a", 12), BYTES)
    content = png(held(BYTES, 12), 10)  # which says less than there is
    check_seen(image_from_bytes(content, "a", 12), BYTES)
    check_seen(image_from(held(BYTES, 16)), BYTES)  # an array's full range
    check_seen(image_from(BYTES, 10), BYTES)  # 8 bits are as they are
    check_seen(image_from_bytes(cv2.imencode(".png", COLOURS)[1].tobytes(), "a", 10), COLOURS)
    check_seen(image_from_bytes(pgm(held(BYTES, 10), 1023), "a", 10), BYTES)  # its header has scaled it


def test_a_large_image_is_read_in_bands(monkeypatch):
    from y12.runtime.preprocess import images

    monkeypatch.setattr(images, "_BAND_PIXELS", 300)
    check_seen(image_from_bytes(png(held(BYTES, 12), 12), "a"), BYTES)
    check_seen(image_from_bytes(tiff(held(COLOURS, 12), most=4095), "a"), COLOURS)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize(
    "door",
    [
        lambda pixels, bits, path: image_from_bytes(png(held(pixels, bits)), str(path)),
        lambda pixels, bits, path: image_from_bytes(tiff(held(pixels, bits)), str(path)),
        lambda pixels, bits, path: image_from(held(pixels, bits)),
        lambda pixels, bits, path: opened(png(held(pixels, bits))),
    ],
)
@pytest.mark.parametrize("pixels", [BYTES, COLOURS])
def test_the_bits_that_fit_are_told_once(tmp_path, caplog, door, bits, pixels):
    dark = pixels // 2 if bits == 14 else pixels  # 14 bits reach a quarter
    for _ in range(2):
        assert door(dark, bits, tmp_path / "a.png").max() < 32
    (record,) = caplog.records
    assert "reaches 1/8 of the range" in record.message
    assert f"if it holds {bits} bits, say so by --bits {bits} or Runtime(bits={bits})" in record.message


def test_nothing_is_told_of_what_is_stated_black_or_bright(caplog):
    for content in (
        png(held(BYTES, 12), 12),
        png(held(BYTES, 16)),
        png(np.zeros((8, 8), np.uint16)),
        png(np.zeros((8, 8, 3), np.uint16)),
        pgm(held(BYTES // 16, 10), 1023),
        cv2.imencode(".png", BYTES // 16)[1].tobytes(),
    ):
        image_from_bytes(content, "a")
    assert not caplog.records


def tiff_of(array):
    return cv2.imencode(".tiff", array)[1].tobytes()


def saved(array):
    with io.BytesIO() as file:
        Image.fromarray(array).save(file, "TIFF")
        return file.getvalue()


REFUSED = {
    "a float TIFF": (lambda: image_from_bytes(saved(np.ones((4, 4), np.float32)), "a"), "found floating-point numbers"),
    "in colours": (
        lambda: image_from_bytes(tiff_of(np.ones((4, 4, 3), np.float32)), "a"),
        "found floating-point numbers",
    ),
    "a float PIL image": (lambda: image_from(Image.new("F", (4, 4)), 12), "floating-point numbers .Pillow's mode 'F'"),
    "a float array": (lambda: image_from(np.ones((4, 4)), 12), "or a uint16 one, found float64"),
    "negative values": (
        lambda: image_from_bytes(tiff_of(np.full((4, 4), -5, np.int16)), "a"),
        "negative ones, down to -5",
    ),
    "signed bytes": (lambda: image_from_bytes(tiff_of(np.full((4, 4), -5, np.int8)), "a"), "found numbers with a sign"),
    "a negative array": (lambda: image_from(np.full((4, 4), -5, np.int16)), "found int16"),
    "negative in PIL": (
        lambda: image_from(Image.fromarray(np.full((4, 4), -5, np.int32)), 12),
        "negative ones, down to -5",
    ),
    "32 bits": (lambda: image_from_bytes(saved(np.ones((4, 4), np.int32)), "a"), "found 32 bits"),
    "more than it is said": (lambda: image_from(np.full((4, 4), 3000, np.uint16), 10), "choose 12 or more"),
    "and in a file": (lambda: image_from_bytes(png(held(COLOURS, 14)), "a", 10), "choose 14 or more"),
    "what Pillow has cut": (lambda: image_from(loaded(tiff(held(COLOURS, 12), most=4095))), "give the path"),
}


def loaded(content):
    image = Image.open(io.BytesIO(content))
    image.load()  # and the file is let go
    return image


def test_what_has_no_white_is_refused_by_name():
    def check(case):
        call, said = case
        with pytest.raises(InputError, match=said):
            call()

    each(REFUSED.items(), check)


def test_signed_numbers_that_are_not_negative_are_read():
    numbers = (BYTES.astype(np.int16) << 6) + 1  # 14 bits
    assert image_from_bytes(tiff_of(numbers), "a").max() == 63
    check_seen(image_from_bytes(tiff_of(numbers), "a", 14), BYTES)


@pytest.mark.parametrize("bits", [0, 17, 8.0, "12"])
def test_bits_that_no_image_has_are_refused(make_onnx, bits):
    with pytest.raises(InputError, match=r"^bits: expected a whole number from 1 to 16"):
        Runtime(make_onnx(), bits=bits)


def test_a_runtime_sees_and_draws_what_it_was_told(make_onnx, tmp_path):
    red = np.zeros((64, 64, 3), np.uint16)
    red[..., 2] = 4095
    cv2.imwrite(str(tmp_path / "a.png"), red)
    with Runtime(make_onnx()) as plain, Runtime(make_onnx(), bits=12) as told:
        assert [len(plain.infer(source)) for source in (red, tmp_path / "a.png")] == [0, 0]
        for found in (told.infer(red), told.infer(tmp_path / "a.png"), *told.stream([str(tmp_path / "a.png")])):
            assert found.class_name == ["red"]
            assert found.plot()[0, 0].tolist() == [0, 0, 255]


def test_the_commands_take_it(make_onnx, tmp_path, capsys, monkeypatch):
    red = np.zeros((64, 64, 3), np.uint16)
    red[..., 2] = 1023
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), red)
    artefact = str(make_onnx())
    for arguments, counts in (([], {}), (["--bits", "10"], {"red": 1})):
        assert infer([artefact, str(path), "--json", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["counts"] == counts
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert infer([artefact, "-", "--json", "--bits", "10"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"red": 1}
    assert infer([artefact, str(path), "--bits", "8"]) == 1
    assert "a.png: bits: expected numbers below 256, as 8 bits have, found 1023: choose 10" in capsys.readouterr().err
    assert infer([artefact, str(path), "--bits", "17"]) == 2
