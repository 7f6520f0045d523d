from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from y12.errors import DatasetError, InputError
from y12.exporter.data.dataset import Sample
from y12.exporter.data.sizes import checked_sizes, header_hw
from y12.runtime.preprocess.images import image_from


def _saved(path: Path, hw: tuple[int, int] = (30, 50), orientation: int | None = None) -> Path:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*hw, 3), dtype=np.uint8))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", [None, *range(10)])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_headers_size_is_that_of_the_decoded_image(tmp_path: Path, orientation: int | None, suffix: str):
    path = _saved(tmp_path / f"a.{suffix}", orientation=orientation)
    assert header_hw(path) == image_from(path).shape[:2]


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n1234"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png") as refused:
        header_hw(tmp_path / "a.png")
    assert "\n" not in str(refused.value)


def test_all_bad_images_are_named_at_once(tmp_path: Path):
    samples = []
    for i in range(4):
        path = _saved(tmp_path / f"{i}.jpg")
        samples.append(Sample(i, path, 30, 50))
    whole = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole[: len(whole) // 2])  # its header is as it should be
    samples[3] = Sample(3, tmp_path / "3.jpg", 50, 30)
    progress: list[tuple[int, int]] = []
    with pytest.raises(DatasetError) as refused:
        checked_sizes(samples, Path("my.yaml"), decode=True, progress=lambda *done: progress.append(done))
    message = str(refused.value)
    assert message.startswith("my.yaml: 2 problems: ")
    assert "1.jpg: cannot be decoded" in message
    assert "3.jpg: expected 30x50 pixels, as its entry says, found 50x30" in message
    assert "\n" not in message
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("decode", [False, True])
def test_sizes_by_id(tmp_path: Path, decode: bool):
    samples = [Sample(7, _saved(tmp_path / "a.png")), Sample(5, _saved(tmp_path / "b.jpg", (20, 10), 6))]
    assert checked_sizes(samples, tmp_path, decode=decode) == {7: (30, 50), 5: (10, 20)}
