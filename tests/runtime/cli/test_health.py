"""The health check: one line and an exit code, whatever is wrong."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from y12.errors import ArtefactError, ExecutorError
from y12.runtime.cli.health import ENGINE_VARIABLE, check_artefact, check_kernels, main
from y12.runtime.kernels.sources import entry_points, kernel_names, kernel_source

ROOT = Path(__file__).resolve().parents[3]
NO_DRIVER = "import ctypes; ctypes.CDLL = lambda *a, **k: (_ for _ in ()).throw(OSError('no such file')); "


def health(*arguments, before="", **environment):
    code = f"{before}import sys; from y12.runtime.cli.health import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


class Loads:
    """A device that only remembers which kernels it was asked for; `broken` cannot be loaded."""

    def __init__(self, broken=None):
        self.loaded, self.broken = [], broken

    def kernel(self, source, entry):
        if entry == self.broken:
            raise ExecutorError(f"CUDA could not load the kernel {entry}")
        self.loaded.append((source, entry))


def test_every_kernel_is_loaded():
    device = Loads()
    count = check_kernels(device)
    assert device.loaded == [(n, entry) for n in kernel_names() for entry in entry_points(kernel_source(n))]
    assert count == len(device.loaded) >= len(kernel_names()) >= 3


def test_a_kernel_that_cannot_be_loaded_is_an_error():
    last = entry_points(kernel_source(kernel_names()[-1]))[-1]
    with pytest.raises(ExecutorError, match=last):
        check_kernels(Loads(broken=last))


def test_an_artefact_that_runs(make_onnx):
    path = make_onnx()
    assert check_artefact(path).startswith(f"{path} on ONNX Runtime ")


def test_an_artefact_that_gives_nan_is_unhealthy(make_constant, make_manifest):
    path = make_constant(make_manifest(), output0=np.full((7, 1), np.nan))
    with pytest.raises(ExecutorError, match="NaN"):
        check_artefact(path)


def test_a_damaged_engine_is_unhealthy(tmp_path):
    (tmp_path / "model.engine").write_bytes(b"ptrt" + bytes(100))
    with pytest.raises(ArtefactError, match=r"model\.engine"):
        check_artefact(tmp_path / "model.engine")


@pytest.mark.parametrize("arguments", [(), ("model.engine",)])
def test_without_a_driver_it_fails_in_one_line(arguments):
    done = health(*arguments, before=NO_DRIVER)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: expected an NVIDIA driver (libcuda.so.1), found none: ")
    assert len(done.stderr.splitlines()) == 1


def test_it_starts_without_numpy():
    done = health("--help", before="import sys; sys.modules['numpy'] = None; ")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: python -m y12.runtime.cli.health")
    assert f"${ENGINE_VARIABLE}" in done.stdout


@pytest.mark.parametrize(
    ("argument", "variable", "checked"),
    [
        (None, None, []),
        ("a.engine", None, ["a.engine"]),
        (None, "b.engine", ["b.engine"]),
        ("a.engine", "b.engine", ["a.engine"]),
        (None, "", []),
    ],
)
def test_the_engine_is_the_argument_or_the_variable(argument, variable, checked, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("y12.runtime.cli.health.check_gpu", lambda: "a GPU, 9 kernels")
    monkeypatch.setattr("y12.runtime.cli.health.check_artefact", lambda path: asked.append(path) or f"{path} on a GPU")
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(ENGINE_VARIABLE, variable)
    assert main([] if argument is None else [argument]) == 0
    assert asked == checked
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["healthy: a GPU, 9 kernels" + "".join(f"; {path} on a GPU" for path in checked)]


@pytest.mark.gpu
def test_healthy_on_a_gpu(gpu, capsys):
    assert main([]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"healthy: {gpu}, ")
