"""Every use that y12 makes of TensorRT fits each release it is meant for: 10.16, 11.4 and RTX 1.7.

Full TensorRT can be executed only with a GPU. So there are stubs of each release's bindings
(scripts/stub_tensorrt.py), and mypy holds the sources against them: names, arguments, types, and the guards that a
name needs which some release lacks. The wrong calls in planted_calls.py are held against them too, and have to be seen.
"""

import importlib
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from vendor_types import RELEASES, ROOT, Held, Place, guards, hold, stub_of, taken_on_trust

SOURCES = [
    path for path in sorted((ROOT / "y12").rglob("*.py")) if re.search(r"\.trt\b|\bimport tensorrt\b", path.read_text())
]
PLANTED = Path(__file__).parent / "planted_calls.py"
WRONG = {  # what the comment behind a planted call says, by its line
    (PLANTED, n): found[1].split()
    for n, line in enumerate(PLANTED.read_text().splitlines(), 1)
    if (found := re.search(r"# wrong: (.+)$", line))
}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Held]:
    """The sources and the planted calls, held against each release."""
    files = [*SOURCES, PLANTED]
    return {release: hold(files, stub_of(release), tmp_path_factory.mktemp(release)) for release in RELEASES}


@cache
def trusted() -> dict[Place, str]:
    return {place: text for path in (*SOURCES, PLANTED) for place, text in taken_on_trust(path)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_use_of_tensorrt_fits_every_release(path: Path, held: dict[str, Held]) -> None:
    found = {**{release: held[release].problems for release in RELEASES}, "not checked": trusted()}
    said = [
        f"line {n}: {text} ({by})" for by, problems in found.items() for (at, n), text in problems.items() if at == path
    ]
    assert not said, "\n".join(said)
    useless = frozenset.intersection(*(held[release].lacking for release in RELEASES))
    assert guards([path]) & useless == frozenset(), "no release has what these ask for"


@pytest.mark.parametrize("place", WRONG, ids=lambda place: f"line {place[1]}")
def test_a_wrong_use_is_seen(place: Place, held: dict[str, Held]) -> None:
    seen = [release for release in RELEASES if place in held[release].problems]
    wrong = {"all": [*RELEASES], "spelling": seen, "guard": []}.get(WRONG[place][0], WRONG[place])
    assert seen == wrong
    assert (place in trusted()) is (WRONG[place] == ["spelling"])
    lacked = [any(where == place for where, _ in held[release].lacking) for release in RELEASES]
    assert all(lacked) is (WRONG[place] == ["guard"])


def test_nothing_right_is_called_wrong(held: dict[str, Held]) -> None:
    seen = {place for release in RELEASES for place in held[release].problems} | trusted().keys()
    assert {place for place in seen if place[0] == PLANTED} <= WRONG.keys()


def test_the_files_that_speak_to_tensorrt_are_the_ones_held() -> None:
    names = {path.relative_to(ROOT / "y12").as_posix() for path in SOURCES}
    here = {f"runtime/backends/tensorrt/{name}.py" for name in ("bindings", "cache", "engine", "executor", "tensors")}
    assert names == {*here, "exporter/engine/build_engine.py"}


@pytest.mark.parametrize("release", RELEASES)
def test_a_stub_is_of_the_release_it_is_named_after_and_whole(release: str, held: dict[str, Held]) -> None:
    assert f'"""TensorRT\'s bindings, release {release.removeprefix("rtx-")}.' in stub_of(release)
    assert [text for place, text in held[release].problems.items() if place[0] not in (*SOURCES, PLANTED)] == []


def test_the_installed_rtx_bindings_fit_too(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    bindings = importlib.import_module("tensorrt_rtx_bindings")
    stub = _script("stub_tensorrt").stub(bindings)
    assert hold(SOURCES, stub, tmp_path).problems == {}
    # What Python says of a class of C++ differs a little from one Python to the next.
    if f"release {bindings.__version__}:" in stub_of("rtx-1.7") and sys.version_info[:2] == (3, 11):
        assert stub == stub_of("rtx-1.7")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
