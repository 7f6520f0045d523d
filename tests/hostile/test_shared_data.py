"""Files that ask for more memory than they have: names, shapes and totals are compared before any is taken."""

import struct
import zipfile
from pathlib import Path

import pytest
from cost import refused
from tiny_networks import pickled, storage, tensor, text, write_zip

from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint

COUNT = 1_000_000  # half-precision numbers: 2 MB
MODULE = b"csome.nn.tasks\nDetectionModel\n)\x81"
SHARED = tensor(
    storage("HalfStorage", elements=b"J" + struct.pack("<i", COUNT)), size=b"J" + struct.pack("<i", COUNT) + b"\x85"
)


def read(path: Path) -> object:
    return detector_from_checkpoint(read_checkpoint(path))


def members(names: list[str]) -> bytes:
    return b"}(" + text(names[0]) + SHARED + b"q\x01" + b"".join(text(name) + b"h\x01" for name in names[1:]) + b"u"


NAMES = [f"w{i}" for i in range(2000)]
FORMS = {  # 2,000 names for one storage, each 4 MB once it is FP32
    "buffers": b"}" + text("model") + MODULE + b"}" + text("_buffers") + members(NAMES) + b"sbs",
    "parameters": b"}" + text("ema") + MODULE + b"}" + text("_parameters") + members(NAMES) + b"sbs",
    "a state dict": members([f"model.{name}" for name in NAMES]),
    "a state dict under model": b"}" + text("model") + members(NAMES) + b"s",
    "biases before BatchNorm": members([f"model.{i}.pe.conv.bias" for i in range(1000)]
                                       + [f"model.{i}.pe.bn.running_mean" for i in range(1000)]),
    "half and half": b"}" + text("model") + MODULE + b"}(" + text("_buffers") + members(NAMES[:900])
                     + text("_parameters") + members(NAMES[900:]) + b"ubs",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_many_names_for_one_storage(tmp_path, form):
    path = write_zip(tmp_path / "names.pt", pickled(FORMS[form]), {"data/0": bytes(2 * COUNT)})
    assert "stand for the same data" in refused(form, lambda: read(path), seconds=1, mib=16)


def test_a_network_larger_than_its_file(tmp_path):
    """Names and shapes may fit a network that a stranger's YAML asks for: its total is compared too."""
    rows = b"".join(b"(J\xff\xff\xff\xffK\x01" + text("Conv") + b"(M\xe8\x03K\x01K\x01ll" for _ in range(30))
    detect = b"((K\x00lK\x01" + text("Detect") + b"(" + text("nc") + b"ll"
    scales = b"(" + text("n") + b"(K\x01K\x01M\x00\x04ld"
    yaml = text("nc") + b"K\x02" + text("scale") + text("n") + text("scales") + scales
    yaml += text("backbone") + b"(" + rows + b"l" + text("head") + b"(" + detect + b"l"
    names = [f"model.{i}.conv.weight" for i in range(1, 30)]
    state = text("_parameters") + members(names) + text("yaml") + b"(" + yaml + b"d"
    path = write_zip(
        tmp_path / "large.pt",
        pickled(b"}" + text("model") + MODULE + b"}(" + state + b"ubs"),
        {"data/0": bytes(2 * COUNT)},
    )
    assert "stand for the same data" in refused("large", lambda: read(path), seconds=1, mib=16)


def test_a_table_of_contents_larger_than_the_tensors(tmp_path):
    with zipfile.ZipFile(tmp_path / "table.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        for i in range(20_000):
            archive.writestr(f"a/data/{i:030}", b"")
    message = refused("table", lambda: read(tmp_path / "table.pt"), seconds=0.5, mib=16)
    assert "expected a table of contents of at most" in message
