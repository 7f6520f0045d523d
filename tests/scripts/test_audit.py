"""`make audit`: an advisory, none, and nobody who could be asked are three answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import audit  # noqa: E402  (a script, not a package)

CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
BAD = {"name": "pillow", "version": "10.0.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["10.0.1"]}]}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0)"}


def read(*packages):
    return audit.read(json.dumps({"dependencies": packages, "fixes": []}), "")


def test_an_advisory():
    answer = read(CLEAN, BAD, UNKNOWN)
    assert answer.known == ("pillow==10.0.0: PYSEC-1, mended in 10.0.1",)
    assert (answer.asked, answer.passed_over, answer.why_not) == (2, ("torch",), "")


def test_a_source_that_knows_no_package_at_all_did_not_answer():
    """Where no advisory source is reached through an index, pip-audit says: no known vulnerabilities found."""
    assert read(UNKNOWN, UNKNOWN).why_not == "it knows none of 2 packages"
    assert read(UNKNOWN, CLEAN).why_not == ""


def test_an_error_is_no_answer():
    assert audit.read("", "Traceback\n  x\nConnectionError: no   route\n").why_not == "ConnectionError: no route"


def test_what_cannot_be_asked_is_said_and_ends_with_3():
    python = ROOT / ".venv-release" / "bin" / "python"
    if not python.exists():
        pytest.skip("the environment of a release is not here: make audit makes it")
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [python, ROOT / "scripts" / "audit.py", "--source", "osv", "--timeout", "2"],
        capture_output=True, text=True, check=False, env=os.environ | nowhere,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    first, last = done.stdout.splitlines()
    assert first.startswith("audit: osv did not answer: ")
    assert last.startswith("audit: no source of advisories could be asked, so that nothing is known of ")
