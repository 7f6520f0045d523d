"""The SBOMs are of every extra, and of the images as their Dockerfiles have them."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import sboms  # noqa: E402  (a script, not a package)


def test_every_extra_that_users_have_is_described():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    described = {subject.name for subject in sboms.subjects()}
    images = {path.stem for path in (ROOT / "docker").glob("*.Dockerfile")} - {"cpp"}  # no package of PyPI is in it
    assert described == {"y12"} | {f"image-{name}" for name in images} | {
        f"extra-{name}" for name in extras if name != "dev"
    }


@pytest.mark.parametrize("image", sboms.IMAGE_EXTRAS)
def test_an_image_is_described_as_it_is_built(image):
    text = (ROOT / "docker" / f"{image}.Dockerfile").read_text().replace("\\\n", " ")
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    (last,) = [line for line in text.splitlines() if re.match(r"RUN VENV=/opt/y12/venv .*install_packages", line)]
    extras = re.search(r'Y12_EXTRAS="([^"]+)"', last)[1]
    for name, value in defaults.items():
        extras = extras.replace(f"${{{name}}}", value)
    assert set(extras.split(",")) == set(sboms.IMAGE_EXTRAS[image])
    without = re.search(r"Y12_WITHOUT=(\S+)", last)
    assert (without[1].split(",") if without else []) == list(sboms.IMAGE_WITHOUT.get(image, ()))


def test_hashes_are_those_of_the_images():
    known = sboms.hashes()
    assert re.fullmatch(r"(--hash=sha256:[0-9a-f]{64} ?)+", known["numpy"])
