"""What a message advises to install: what pyproject.toml states, and nothing that an index does not have."""

import ast
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from y12 import installing
from y12.errors import MissingPackageError
from y12.exporter.cli import export, tune
from y12.installing import install_command, requirements_of

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PACKAGES = [*(ROOT / "exporter").rglob("*.py"), *(ROOT / "runtime").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]


def canonical(lines):
    return {str(Requirement(line)).lower() for line in lines}


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_s_requirements_are_those_of_the_project(extra):
    stale = "pyproject.toml has changed since y12 was installed here: run make, or pip install -e again"
    assert canonical(requirements_of(extra)) == canonical(EXTRAS[extra]), stale


def test_what_two_extras_share_is_named_once():
    both = requirements_of("rtx", "gpu")
    assert len(both) == len(set(both))
    assert set(both) == {*requirements_of("rtx"), *requirements_of("gpu")}


def test_the_command_names_each_requirement_for_a_shell():
    assert install_command("ort") == "pip install 'onnxruntime>=1.24.4'"
    assert install_command("ort", upgrade=True) == "pip install --upgrade 'onnxruntime>=1.24.4'"


def test_sources_that_were_never_installed_name_their_checkout(monkeypatch):
    def none(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", none)
    assert install_command("val", "ort") == f"pip install '{ROOT}[val,ort]'"


def test_a_checkout_that_was_installed_before_an_extra_was_made_is_installed_again():
    assert install_command("of tomorrow") == f"pip install '{ROOT}[of tomorrow]'"


def test_without_a_checkout_y12_itself_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(installing, "_CHECKOUT", tmp_path)
    assert install_command("of tomorrow") == "pip install 'y12[of tomorrow]'"


def test_the_message_names_package_extra_and_command():
    assert str(MissingPackageError("pyyaml", "val", "y12-val")) == (
        "y12-val needs the package 'pyyaml' of y12's extra [val], which is not installed: " + install_command("val")
    )


def test_no_message_of_y12_s_advises_a_name_that_an_index_does_not_have():
    texts = [
        (path.name, node.value)
        for path in PACKAGES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert len(texts) > 1000
    assert [found for found in texts if "y12[" in found[1] or "pip install y12" in found[1]] == []


NAMES = {"lightning_fabric": "lightning-fabric", "yaml": "pyyaml"}


@pytest.mark.parametrize(("command", "extra"), [(export, "export"), (tune, "train")])
def test_a_command_asks_for_what_its_extra_holds_and_all_of_it(command, extra):
    asked = {NAMES.get(package, package) for package in command._PACKAGES}
    assert asked == {Requirement(line).name for line in EXTRAS[extra]}
