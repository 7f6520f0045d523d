"""What is in the wheel."""

import subprocess
import zipfile
from importlib import metadata

from tests.wheel.environments import ROOT, build


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_one_package_is_all_there_is(wheel):
    tops = {name.split("/")[0] for name in contents(wheel)}
    assert tops == {"y12", f"y12-{metadata.version('y12')}.dist-info"}
    assert not any("test" in name.split("/")[-1] or "/tests/" in name for name in contents(wheel))


def test_every_file_of_the_package_is_in_it(wheel):
    listed = subprocess.run(
        ["git", "ls-files", "y12", "configs"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    wanted = {f"y12/exporter/{name}" if name.startswith("configs/") else name for name in listed}
    found = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert found == wanted
    assert {"y12/py.typed", "y12/exporter/configs/models/yolov12.yaml"} <= found


def test_a_wheel_by_way_of_the_sdist_is_the_same(wheel, tmp_path):
    assert contents(build(tmp_path)) == contents(wheel)
