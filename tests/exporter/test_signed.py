"""What others make of an export: the statement read by in-toto's own descriptions, the folder signed by model-signing.

Both are installed into an environment of their own, from where pip gets its packages; where that does not answer, these
tests skip and say so.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from y12.exporter.export_config import ExportConfig, ShapeOptions
from y12.exporter.export_pipeline import export

pytestmark = pytest.mark.exhaustive
# model-signing 1.1.1 needs pyopenssl, and does not say so.
PACKAGES = ("model-signing==1.1.1", "pyopenssl>=24", "in-toto-attestation==0.9.3")
READ = """
import json
import sys
from google.protobuf.json_format import MessageToDict, Parse  # refuses a field that the description has not
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
own = MessageToDict(Parse(open(sys.argv[1]).read(), statement_pb2.Statement()))
Parse(json.dumps(own["predicate"]), provenance_pb2.Provenance())
print(own["_type"], own["predicateType"], len(own["subject"]))
"""
KEY = ("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out")


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """The folder of the commands of an environment that has the packages."""
    home = tmp_path_factory.mktemp("tools") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    done = run(str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *PACKAGES)
    if done.returncode:
        pytest.skip(f"{', '.join(PACKAGES)} cannot be installed here: {done.stderr.strip().splitlines()[-1][:200]}")
    return home / "bin"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    export(ExportConfig(shapes=ShapeOptions(((64, 64),)), verify=None, output=folder))
    return folder


def test_the_statement_is_read_by_in_toto_s_and_slsa_s_own_descriptions(tools, made, tmp_path):
    (statement,) = made.glob("*.provenance.json")
    done = run(str(tools / "python"), "-c", READ, str(statement))
    expected = "https://in-toto.io/Statement/v1 https://slsa.dev/provenance/v1 3"
    assert done.stdout.strip() == expected, done.stderr
    planted = tmp_path / "planted.json"
    planted.write_text(statement.read_text().replace('"buildType"', '"buildKind"'))
    assert "buildKind" in run(str(tools / "python"), "-c", READ, str(planted)).stderr


def test_a_signed_export_is_verified_and_a_changed_byte_or_another_key_fails(tools, made, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the keys, is not installed")
    for name in ("own", "other"):
        subprocess.run([*KEY, str(tmp_path / f"{name}.pem")], check=True)
        public = (
            "openssl",
            "ec",
            "-in",
            str(tmp_path / f"{name}.pem"),
            "-pubout",
            "-out",
            str(tmp_path / f"{name}.pub"),
        )
        subprocess.run(public, check=True, capture_output=True)
    folder, signature = tmp_path / "folder", tmp_path / "made.sig"
    shutil.copytree(made, folder)
    sign = str(tools / "model_signing")
    done = run(
        sign, "sign", "key", str(folder), "--private_key", str(tmp_path / "own.pem"), "--signature", str(signature)
    )
    assert done.returncode == 0, done.stderr

    def verified(key):
        return run(
            sign, "verify", "key", str(folder), "--public_key", str(tmp_path / key), "--signature", str(signature)
        )

    assert verified("own.pub").returncode == 0
    assert verified("other.pub").returncode != 0
    (graph,) = Path(folder).glob("*.onnx")
    with graph.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        last = stream.read(1)[0]
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last ^ 1]))
    assert verified("own.pub").returncode != 0
