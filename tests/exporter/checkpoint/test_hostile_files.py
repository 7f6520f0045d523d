"""Zips and module trees that lie about themselves; and damage at random: it loads, or says what is wrong."""

import random
import time
import zipfile

import pytest
from test_hostile_pickles import refusal
from tiny_networks import (
    pickled,
    published_yaml,
    storage,
    tensor,
    text,
    tiny_detector,
    write_published,
    write_zip,
)

from y12.errors import Y12Error
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint

SOUND = pickled(tensor(storage()))
DATA = {"data/0": bytes(16)}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "expected uncompressed entries"),
        ({"compression": zipfile.ZIP_LZMA}, "expected uncompressed entries"),
        ({"data": {}}, "the tensor data '0' is missing"),
        ({"data": DATA | {"byteorder": b"big"}}, "big-endian"),
        ({"data": DATA | {"nested/data.pkl": b"."}}, "found 2 of them"),
        ({"pickled": b"N" * (9 << 20)}, "a data.pkl of at most"),
    ],
)
def test_zip_refused(tmp_path, how, reason):
    path = write_zip(tmp_path / "bad.pt", **({"pickled": SOUND, "data": DATA} | how))
    assert reason in refusal(path)


def test_zip_bomb(tmp_path):
    path = write_zip(tmp_path / "bad.pt", SOUND, {"data/0": bytes(200 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert "expected uncompressed entries" in refusal(path)


def test_zip_without_a_pickle(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "found 0 of them" in refusal(tmp_path / "bad.pt")


def test_entry_that_claims_more_than_the_file(tmp_path):
    path = write_zip(tmp_path / "bad.pt", SOUND, DATA)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"archive/data/0") - 46  # of the table of contents
    content[entry + 24 : entry + 28] = (1 << 31).to_bytes(4, "little")
    path.write_bytes(content)
    assert "claim more bytes than the file has" in refusal(path)


def test_damaged_tensor_data_is_not_called_truncated(tmp_path):
    path = write_zip(tmp_path / "bad.pt", SOUND, DATA)
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes(16), b"\x01" * 16))
    message = refusal(path)
    assert "damaged (Bad CRC-32" in message
    assert "truncated" not in message


MODULE = b"cultralytics.nn.tasks\nDetectionModel\n)\x81"


def module(children: bytes = b"}", parameters: bytes = b"}", buffers: bytes = b"}") -> bytes:
    """The opcodes of a pickled module; each argument pushes a dict."""
    entries = text("_modules") + children + text("_parameters") + parameters + text("_buffers") + buffers
    return MODULE + b"}(" + entries + b"ub"


def chain(length: int) -> bytes:
    opcodes = module(parameters=b"}" + text("weight") + tensor(storage()) + b"s")
    for _ in range(length):
        opcodes = module(children=b"}" + text("0") + opcodes + b"s")
    return opcodes


def in_root(*opcodes: bytes) -> bytes:
    return pickled(b"}" + text("model"), *opcodes, b"s")


MEMOED = MODULE + b"q\x01}(" + text("_modules") + b"}" + text("again") + b"h\x01s" + text("_parameters") + b"}ub"
TWINS = (b"}(" + text("a") + b"h%c" % i + text("b") + b"h%c" % i + b"u" for i in range(1, 31))
LAUGHS = module() + b"q\x01" + b"".join(b"0" + module(twins) + b"q%c" % i for i, twins in enumerate(TWINS, 2))
TREES = {  # opcodes of what lies under "model": what the message must hold
    "holds itself": (MEMOED, "holds itself"),
    "two of each": (LAUGHS, "holds itself, or more than"),
    "deeper than any": (chain(40), "within each other"),
    "no weights": (module(), "'ultralytics.nn.tasks.DetectionModel' holds no weights"),
    "groups no dicts": (module(b"]", b"K\x01", b"N"), "holds no weights"),
    "state no dict": (MODULE + b"]b", "holds no weights"),
    "no state": (MODULE, "holds no weights"),
    "children no modules": (module(b"}" + text("0") + b"K\x01s"), "holds no weights"),
    "name a number": (module(parameters=b"}K\x01" + tensor(storage()) + b"s"), "expected names of at most"),
    "name too long": (module(parameters=b"}" + text("w" * 10**6) + tensor(storage()) + b"s"), "expected names of"),
    "a class for a network": (b"cfoo\nBar\n", "expected a network under 'ema' or 'model'"),
    "a function for a network": (b"ctorch._utils\n_rebuild_parameter\n", "expected a network under 'ema' or 'model'"),
}  # fmt: skip


@pytest.mark.parametrize(("opcodes", "reason"), TREES.values(), ids=TREES.keys())
def test_trees_refused(tmp_path, opcodes, reason):
    path = write_zip(tmp_path / "bad.pt", in_root(opcodes), DATA)
    assert reason in refusal(path)


def test_a_tree_that_is_deep_enough_is_read(tmp_path):
    path = write_zip(tmp_path / "good.pt", in_root(chain(20)), DATA)
    assert list(read_checkpoint(path).state) == ["0." * 20 + "weight"]


def test_yaml_and_names_that_hold_themselves(tmp_path):
    network = MODULE + b"}q\x05(" + text("_parameters") + b"}" + text("w") + tensor(storage()) + b"s"
    loop = b"]q\x06h\x06a"
    for entry in (text("yaml") + b"}" + text("backbone") + loop + b"s", text("names") + loop, text("names") + b"h\x05"):
        path = write_zip(tmp_path / "bad.pt", in_root(network + entry + b"ub"), DATA)
        with pytest.raises(Y12Error) as caught:
            detector_from_checkpoint(read_checkpoint(path))
        assert str(caught.value).isprintable()


def refusal_of(path):
    """Load a file; give the refusal's message, or an empty one where it loads. Any other error is a test's failure."""
    try:
        detector_from_checkpoint(read_checkpoint(path))
    except Y12Error as error:
        return str(error)
    return ""


def flipped(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def shortened(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def spliced(content: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.randrange(len(content)) for _ in range(2))
    return content[:start] + content[end:]


SMALL = {  # of a network of one convolution and a head, so that damage often meets what matters
    "backbone": [[-1, 1, "Conv", [8, 3, 8]]],
    "head": [[[0], 1, "Detect", ["nc"]]],
}


@pytest.mark.parametrize("damage", [flipped, shortened, spliced])
def test_random_damage_loads_or_is_refused(tmp_path, damage):
    chance = random.Random(12)
    path = write_published(tmp_path / "sound.pt", tiny_detector(**SMALL), yaml=published_yaml(**SMALL))
    assert refusal_of(path) == ""
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        data = {n.partition("/")[2]: archive.read(n) for n in archive.namelist() if not n.endswith("data.pkl")}
        content = archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
    began = time.process_time()
    messages = []
    for _ in range(60):
        path.write_bytes(damage(whole, chance))
        messages.append(refusal_of(path))
        write_zip(path, damage(content, chance), data)  # the zip is sound: what the unpickler makes of it
        messages.append(refusal_of(path))
    assert sum(message != "" for message in messages) > 20
    assert [m for m in messages if "\n" in m or len(m) > 1000] == []
    assert time.process_time() - began < 20
