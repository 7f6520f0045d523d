"""A stranger's pickled values, each in each place: read or refused at once, and in proportion to the file."""

import pickle
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from cost import refusal, refused
from tiny_networks import call, pickled, storage, tensor, text, write_zip

from y12.errors import CheckpointError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.pickles import read_pickled_zip

DATA = {"data/0": bytes(16)}
TENSOR = tensor(storage())
MODULE = b"csome.nn.tasks\nDetectionModel\n)\x81"
NORM = b"cx\nBatchNorm2d\n)\x81}"


def nested(push: bytes, pair: bytes) -> bytes:
    """Push a value that holds the one before twice, sixty times over: to look at all of it takes for ever."""
    return push + b"q\xc0" + b"".join(b"h%ch%c%cq%c" % (i, i, pair[0], i + 1) for i in range(0xC0, 0xC0 + 60))


def number(size: int) -> bytes:
    return pickle.LONG4 + struct.pack("<i", size) + b"\x5a" * size


LAUGHS = {  # a value that holds the one before twice, as a tuple and as a list
    "nested tuples": b"N" + nested(b"", b"\x86"),
    "nested lists": b"N" + b"q\xc0" + b"".join(b"(h%ch%clq%c" % (i, i, i + 1) for i in range(0xC0, 0xC0 + 60)),
}
VALUES = LAUGHS | {
    "a huge number": number(250_000),
    "its negative": number(250_000)[:-1] + b"\xff",
    "2**63": pickle.LONG1 + b"\x09" + bytes(7) + b"\x80\x00",
    "-2**63 - 1": pickle.LONG1 + b"\x09" + b"\xff" * 7 + b"\x7f\xff",
    "a long text": text("x" * 500_000),
    "a long text of emoji": text("\N{GRINNING FACE}" * 100_000),
    "bytes": b"B" + struct.pack("<I", 100_000) + bytes(100_000),
    "NaN": pickle.BINFLOAT + struct.pack(">d", float("nan")),
    "infinity": pickle.BINFLOAT + struct.pack(">d", float("inf")),
    "None": b"N",
    "True": pickle.NEWTRUE,
    "minus one": b"J\xff\xff\xff\xff",
    "a list": b"]",
    "a dict": b"}",
    "a record": b"cfoo\nBar\n)\x81",
    "a class": b"cfoo\nBar\n",
    "a tensor": TENSOR,
    "a deep list": b"]" * 5000 + b"a" * 4999,
}  # fmt: skip


def network(entries: bytes) -> bytes:
    weights = text("_parameters") + b"}" + text("weight") + TENSOR + b"s"
    return b"}" + text("model") + MODULE + b"}(" + weights + entries + b"ubs"


def yaml(**changes: bytes) -> bytes:
    """The model YAML of a pickled network, with opcodes in some places."""
    row = b"(" + changes.get("source", b"J\xff\xff\xff\xff") + changes.get("repeats", b"K\x01")
    row += changes.get("module", text("Conv")) + b"(" + changes.get("width", b"K\x10") + b"K\x03K\x02ll"
    detect = b"((K\x00lK\x01" + text("Detect") + b"(" + text("nc") + b"ll"
    entries = text("nc") + changes.get("nc", b"K\x02") + text("scale") + changes.get("scale", text("n"))
    factors = b"(" + changes.get("factor", pickle.BINFLOAT + struct.pack(">d", 1.0)) * 2 + b"M\x00\x04l"
    entries += text("scales") + b"(" + text("n") + factors + b"d"
    entries += text("backbone") + changes.get("backbone", b"(" + row + b"l")
    entries += text("head") + changes.get("head", b"(" + detect + b"l")
    return network(text("yaml") + b"(" + entries + b"d")


PLACES = {  # where a stranger can put a value
    "key of a dict": lambda v: b"}" + v + b"Ns",
    "keys of a dict": lambda v: b"}(" + v + b"Nu",
    "key in a DICT": lambda v: b"(" + v + b"Nd",
    "key of an OrderedDict": lambda v: call("collections", "OrderedDict", b"](" + v + b"Nte"[:0] + b"Nta"),
    "items of an OrderedDict": lambda v: call("collections", "OrderedDict", v),
    "key of a record": lambda v: b"cfoo\nBar\n)\x81" + v + b"Ns",
    "state of a record": lambda v: b"cfoo\nBar\n)\x81" + v + b"b",
    "argument of a record": lambda v: call("foo", "Bar", v),
    "member of a set": lambda v: call("builtins", "set", b"]" + v + b"a"),
    "members of a set": lambda v: call("builtins", "set", v),
    "ADDITEMS": lambda v: pickle.EMPTY_SET + b"(" + v + pickle.ADDITEMS,
    "frozenset": lambda v: b"(" + v + pickle.FROZENSET,
    "complex": lambda v: call("builtins", "complex", v),
    "torch.Size": lambda v: call("torch", "Size", v),
    "reference": lambda v: v + b"Q",
    "tag of a storage": lambda v: tensor(b"(" + v + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x04tQ"),
    "type of a storage": lambda v: tensor(b"(" + text("storage") + v + text("0") + text("cpu") + b"K\x04tQ"),
    "key of a storage": lambda v: tensor(
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + v + text("cpu") + b"K\x04tQ"
    ),
    "elements of a storage": lambda v: tensor(storage(elements=v)),
    "storage of a tensor": lambda v: tensor(v),
    "offset": lambda v: tensor(storage(), offset=v),
    "size": lambda v: tensor(storage(), size=v),
    "sizes": lambda v: tensor(storage(), size=b"(" + v * 8 + b"t", stride=b"(" + b"K\x01" * 8 + b"t"),
    "strides": lambda v: tensor(storage(), size=b"(" + b"K\x01" * 8 + b"t", stride=b"(" + v * 8 + b"t"),
    "the root": lambda v: v,
    "the network": lambda v: b"}" + text("model") + v + b"s",
    "name of a tensor": lambda v: network(text("_buffers") + b"}" + v + TENSOR + b"s"),
    "modules": lambda v: network(text("_modules") + v),
    "class names": lambda v: network(text("names") + v),
    "a class name": lambda v: network(text("names") + b"(" + v + b"l"),
    "id of a class name": lambda v: network(text("names") + b"}" + v + text("a") + b"s"),
    "eps": lambda v: network(text("_modules") + b"}" + text("0") + NORM + text("eps") + v + b"sbs"),
    "the yaml": lambda v: network(text("yaml") + v),
    **{f"{place} of the yaml": (lambda v, place=place: yaml(**{place: v}))
       for place in ("nc", "scale", "factor", "backbone", "head", "source", "repeats", "module", "width")},
}  # fmt: skip


def read(path: Path) -> object:
    return detector_from_checkpoint(read_checkpoint(path))


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """The shipped networks have been read once: that cost is no file's."""
    with pytest.raises(CheckpointError, match="fit none of the shipped models"):
        read(write_zip(tmp_path_factory.mktemp("warm") / "warm.pt", pickled(network(b"")), DATA))


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("place", PLACES)
def test_no_value_is_hashed_printed_compared_or_multiplied_unseen(tmp_path, place):
    for name, value in VALUES.items():
        path = write_zip(tmp_path / f"{name}.pt", pickled(PLACES[place](value)), DATA)
        refused(name, lambda path=path: read(path), seconds=1.5, mib=40)


def test_the_network_those_values_are_put_into_is_read(tmp_path):
    path = write_zip(tmp_path / "good.pt", pickled(yaml()), DATA)
    assert "its weights contradict its network" in refused("good", lambda: read(path), seconds=2, mib=40)


def bulk(size: int) -> Iterator[tuple[str, bytes]]:
    """Yield pickles of `size` bytes that are made of one thing over and over."""
    many = {
        "empty sets": pickle.EMPTY_SET,
        "empty dicts": b"}",
        "empty lists": b"]",
        "empty tuples": b")",
        "Nones": b"N",
        "marks": b"(",
        "tuples": b")\x85",
        "numbers": b"M\x00\x10",
        "large numbers": pickle.LONG1 + b"\x08" + b"\x11" * 8,
        "fractions": b"G" + bytes(8),
        "texts": text("ab"),
        "records": b"cfoo\nBar\n)\x81",
        "records again": b"h\x01)\x81",
        "OrderedDicts": b"h\x02)R",
        "tensors": b"h\x03(h\x04K\x00K\x04\x85K\x01\x85\x89)tR",
        "copies of a set": b"h\x05(h\x06tR",
        "copies of a list": b"h\x02(h\x07tR",
        "sizes": b"h\x08(h\x06tR",
        "got and dropped": b"h\x010",
        "memos": b"N\x94",
        "frozensets": b"(" + pickle.FROZENSET,
        "dicts of one": b"}K\x01Ns",
    }
    globals_ = b"\x80\x02](cfoo\nBar\nq\x01ccollections\nOrderedDict\nq\x02ctorch._utils\n_rebuild_tensor_v2\nq\x03"
    globals_ += storage() + b"q\x04cbuiltins\nset\nq\x05](" + b"".join(b"M" + struct.pack("<H", i) for i in range(2000))
    globals_ += b"eq\x06](" + b"".join(b"M" + struct.pack("<H", i) + b"N\x86" for i in range(2000)) + b"eq\x07"
    globals_ += b"ctorch\nSize\nq\x08"
    for name, unit in many.items():
        yield name, globals_ + unit * ((size - len(globals_)) // len(unit)) + b"e."
    names = b"".join(b"cfoo\n%x\n0" % i for i in range(size // 9))
    yield "classes", b"\x80\x02N" + names[: size - 9] + b"."
    yield (
        "entries of a dict",
        b"\x80\x02}(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(size // 6)) + b"u.",
    )


def bounds(path: Path) -> dict[str, float]:
    """A second of processor time for 10 MB and three times the size, and what the smallest file may take."""
    mib = path.stat().st_size / (1 << 20)
    return {"seconds": 0.5 + 0.1 * mib, "mib": 16 + 3 * mib}


@pytest.mark.parametrize("size", [1 << 20, pytest.param(8_380_000, marks=pytest.mark.exhaustive)])
def test_what_is_built_is_in_proportion_to_the_file(tmp_path, size):
    for name, opcodes in bulk(size):
        path = write_zip(tmp_path / "bulk.pt", opcodes, DATA)
        refusal(name, lambda path=path: read_pickled_zip(path), **bounds(path))
