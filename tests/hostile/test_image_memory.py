"""Pictures that are small on the disk: at most 8 bytes of memory a pixel, and large ones in their turn."""

import threading
import time

import numpy as np
import pytest
from cost import measured
from PIL import Image

from y12.errors import InputError
from y12.runtime.preprocess import images
from y12.runtime.preprocess.shares import Shares

SIDE = 4000  # 16 megapixels: four bands
MODES = {
    "gray": ("L", ".png"),
    "two colours": ("1", ".png"),
    "16 bits": ("I;16", ".png"),
    "palette": ("P", ".png"),
    "gray and alpha": ("LA", ".png"),
    "colours": ("RGB", ".png"),
    "alpha": ("RGBA", ".png"),
    "CMYK": ("CMYK", ".tif"),
    "TIFF": ("RGB", ".tif"),
    "BMP": ("RGB", ".bmp"),
    "GIF": ("P", ".gif"),
}


@pytest.mark.parametrize("name", MODES)
def test_memory_of_a_picture(tmp_path, name):
    mode, suffix = MODES[name]
    path = tmp_path / f"flat{suffix}"
    options = {"transparency": bytes([0, 128])} if name == "palette" else {}
    Image.new(mode, (SIDE, SIDE)).save(path, **options)
    images.image_from(path)  # what the decoders themselves need once
    with measured() as cost:
        images.image_from(path)
    most = 8 * SIDE**2 / 2**20 + 64  # a band of 4 megapixels, converted
    assert cost.mib <= most, f"{cost.mib:.0f} MiB, at most {most:.0f}"


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "I;16"])
def test_bands_make_the_same_picture(tmp_path, monkeypatch, mode, orientation):
    pixels = np.random.Generator(np.random.PCG64(3)).integers(0, 256, (37, 53, 4), dtype=np.uint8)
    image = Image.fromarray(pixels[:, :, :3])
    image = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    whole = images.image_from(tmp_path / "a.png")
    monkeypatch.setattr(images, "_BAND_PIXELS", 300)
    banded = images.image_from(tmp_path / "a.png")
    assert banded.flags.c_contiguous
    np.testing.assert_array_equal(banded, whole)


def test_dear_formats_are_refused_earlier(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 5000)
    Image.new("RGB", (60, 60)).save(tmp_path / "a.webp")
    Image.new("RGB", (60, 60)).save(tmp_path / "a.png")
    assert images.image_from(tmp_path / "a.png").shape == (60, 60, 3)
    with pytest.raises(InputError, match="expected a WEBP image of at most 2500 pixels, found 60x60"):
        images.image_from(tmp_path / "a.webp")


def test_large_pictures_wait_for_each_other():
    shares, held, most = Shares(100), [], []

    def decode(pixels: int) -> None:
        with shares.share(pixels):
            held.append(pixels)
            most.append(sum(held))
            time.sleep(0.01)
            held.remove(pixels)

    threads = [threading.Thread(target=decode, args=(pixels,)) for pixels in (60, 30, 30, 60, 100, 150, 10) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(most) == len(threads)  # also the one that is larger than all there is
    assert max(total for total in most if total != 150) <= 100
