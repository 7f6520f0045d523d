"""Checkpoints made to run code, or to hang the reader: refused in one line, in bounded time, and nothing happens."""

import os
import pickle
import resource
import struct
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_networks import call, pickled, storage, tensor, text, write_zip

from y12.errors import CheckpointError
from y12.exporter.checkpoint.load import read_checkpoint
from y12.exporter.checkpoint.pickles import read_pickled_zip

MARK = "MARKER"  # what every attack tries to leave in the current folder
TOUCH = text(f"touch {MARK}")
WRITE = text(f"open({MARK!r}, 'w')")

ATTACKS = {  # name in the message: opcodes
    "os.system": call("os", "system", TOUCH),
    "posix.system": call("posix", "system", TOUCH),
    "nt.system": call("nt", "system", TOUCH),
    "os.popen": call("os", "popen", TOUCH),
    "os.mkdir": call("os", "mkdir", text(MARK)),
    "subprocess.Popen": call("subprocess", "Popen", b"(" + text("touch") + text(MARK) + b"t"),
    "subprocess.check_output": call("subprocess", "check_output", b"(" + text("touch") + text(MARK) + b"t"),
    "builtins.eval": call("builtins", "eval", WRITE),
    "builtins.exec": call("__builtin__", "exec", WRITE),  # as protocol 2 spells it
    "builtins.compile": call("builtins", "compile", WRITE, text("x"), text("exec")),
    "builtins.open": call("builtins", "open", text(MARK), text("w")),
    "builtins.__import__": call("builtins", "__import__", text("os")),
    "builtins.getattr": call("builtins", "getattr", b"]", text("clear")),
    "os.environ": call("builtins", "getattr", b"cos\nenviron\n", text("clear")),
    "builtins.globals": call("builtins", "globals"),
    "builtins.breakpoint": call("builtins", "breakpoint"),
    "io.open": call("io", "open", text(MARK), text("w")),
    "importlib.import_module": call("importlib", "import_module", text("antigravity")),
    "runpy.run_path": call("runpy", "run_path", text("attack.py")),
    "shutil.rmtree": call("shutil", "rmtree", text("folder")),
    "pathlib.Path.touch": b"\x80\x04" + text("pathlib") + text("Path.touch") + b"\x93",
    "pickle.loads": call("pickle", "loads", b"C\x00"),
    "_pickle.loads": call("_pickle", "loads", b"C\x00"),
    "marshal.loads": call("marshal", "loads", b"C\x00"),
    "functools.partial": call("functools", "partial", b"cos\nsystem\n", TOUCH),
    "functools.reduce": call("functools", "reduce", b"cos\nsystem\n", b"(" + TOUCH + b"t"),
    "operator.attrgetter": call("operator", "attrgetter", text("system")),
    "operator.methodcaller": call("operator", "methodcaller", text("unlink")),
    "types.FunctionType": call("types", "FunctionType"),
    "types.CodeType": call("types", "CodeType"),
    "ctypes.CDLL": call("ctypes", "CDLL", b"N"),
    "pty.spawn": call("pty", "spawn", TOUCH),
    "webbrowser.open": call("webbrowser", "open", text("http://localhost")),
    "socket.socket": call("socket", "socket"),
    "code.interact": call("code", "interact"),
    "timeit.timeit": call("timeit", "timeit", WRITE),
    "multiprocessing.util._exit_function": call("multiprocessing.util", "_exit_function"),
    "os.path.exists": call("os.path", "exists", text("/")),
    "sys.exit": call("sys", "exit"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with what an attack could run or remove; checked to be untouched."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "attack.py").write_text(f"open({MARK!r}, 'w')")
    (tmp_path / "folder").mkdir()
    environment = set(os.environ)
    yield tmp_path
    assert not (tmp_path / MARK).exists()
    assert (tmp_path / "folder").is_dir()
    assert set(os.environ) == environment


def refusal(path, read=read_checkpoint, seconds=5.0):
    began = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < 600
    assert time.process_time() - began < seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 300 << 10  # KiB
    return message


@pytest.mark.parametrize(("name", "opcodes"), ATTACKS.items(), ids=ATTACKS.keys())
def test_call_refused_by_name(folder, name, opcodes):
    message = refusal(write_zip(folder / "bad.pt", pickled(opcodes)))
    assert f"its pickle calls '{name}'" in message
    assert "nothing of it was executed" in message


def test_a_bound_method_of_a_pickled_object_is_inert(folder):
    """Files saved after fuse() have one in each convolution."""
    method = call("builtins", "getattr", b"cfoo.bar\nBaz\n)R", text("forward_fuse"))
    message = refusal(write_zip(folder / "method.pt", pickled(method)))
    assert "builtins.method" in message
    assert "holds no weights" in message


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_attack_pickled_by_python_itself(folder, protocol):
    class Attack:
        def __reduce__(self):
            return Path.touch, (Path(MARK),)

    message = refusal(write_zip(folder / "bad.pt", pickle.dumps({"model": Attack()}, protocol)))
    assert "refused: its pickle calls" in message


def test_attack_inside_a_torch_file(folder):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {MARK}",)

    torch.save({"model": {"weight": torch.zeros(3)}, "ema": Attack()}, folder / "bad.pt")
    assert "its pickle calls 'posix.system'" in refusal(folder / "bad.pt")


def test_attack_is_one(folder):
    """The same file does run code in Python's own unpickler, so that the tests above refuse something real."""
    (folder / "elsewhere").mkdir()
    os.chdir(folder / "elsewhere")
    pickle.loads(pickled(ATTACKS["os.system"]))
    assert (folder / "elsewhere" / MARK).exists()
    os.chdir(folder)


# A tuple that holds the one before twice, a hundred times over: hashing or printing it would take for ever.
TUPLES = b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(100))
LISTS = b"".join(b"(h%ch%clq%c" % (i, i, i + 1) for i in range(100))
RECORD = b"cfoo.bar\nBaz\n"
DEEP = 40_000  # deeper than Python calls itself; more is refused for its number
PUSH_SET = call("builtins", "set", b"]")
MALFORMED = {
    "empty": b"",
    "no end": b"\x80\x02}",
    "unknown opcode": pickled(b"\xff"),
    "newer protocol": b"\x80\x63}.",
    "memo out of the blue": pickled(b"h\x07"),
    "extension 1": pickled(b"\x82\x01"),
    "extension 2": pickled(b"\x83\x01\x00"),
    "extension 4": pickled(b"\x84\x01\x00\x00\x00"),
    "buffer of any size": pickled(b"\x96" + struct.pack("<Q", 1 << 40)),
    "next buffer": pickled(b"\x97"),
    "string beyond the end": pickled(b"\x8d" + struct.pack("<Q", 1 << 62)),
    "number beyond the end": pickled(b"\x8b" + struct.pack("<i", 1 << 30)),
    "global of a number": pickled(b"K\x01K\x02\x93"),
    "call of a number": pickled(b"K\x01)R"),
    "call of a record": pickled(RECORD + b")R)R"),
    "call of a dtype": pickled(b"ctorch\nFloatStorage\n)R"),
    "new of a function": pickled(b"ctorch._utils\n_rebuild_parameter\n)\x81"),
    "build on a set": pickled(PUSH_SET + b"}b"),
    "build on a list": pickled(b"]}b"),
    "build on a dict": pickled(b"}}b"),
    "build on a class": pickled(RECORD + b"}b"),
    "build on a function": pickled(b"ctorch._utils\n_rebuild_tensor_v2\nN}" + text("__defaults__") + b"Ns\x86b"),
    "build on a tensor": pickled(tensor(storage()) + b"(" + storage() + b"K\x00))tb"),
    "entries for a list": pickled(b"]K\x01K\x02s"),
    "entries for a tensor": pickled(tensor(storage()) + b"K\x01K\x02s"),
    "append to a dict": pickled(b"}K\x01a"),
    "set of a tensor": pickled(call("builtins", "set", tensor(storage()))),
    "size of a tensor": pickled(call("torch", "Size", storage())),
    "set of lists": pickled(call("builtins", "set", b"]]a")),
    "flat tuple as a key": pickled(b"}K\x01K\x02\x86Ns"),
    "list as a key": pickled(b"}]K\x01s"),
    "laughs as a key": pickled(b"}Nq\x00" + TUPLES + b"K\x01s"),
    "laughs in a set": pickled(b"\x8f(Nq\x00" + TUPLES + b"\x90"),
    "laughs in a frozenset": pickled(b"(Nq\x00" + TUPLES + b"\x91"),
    "laughs in a dict": pickled(b"(K\x01Nq\x00" + TUPLES + b"d"),
    "laughs as an index": pickled(b"}(Nq\x00" + TUPLES + b"K\x01u"),
    "reference to no storage": pickled(text("x") + b"Q"),
    "reference to laughs": pickled(b"Nq\x00" + LISTS + b"Q"),
    "reference in text": pickled(b"Pstorage\n"),
    "storage of another tag": pickled(tensor(storage(tag="module"))),
    "storage of a class": pickled(tensor(storage(kind="ComplexFloatStorage"))),
    "storage missing": pickled(tensor(storage(key="9"))),
    "storage elsewhere": pickled(tensor(storage(key="../data.pkl"))),
    "storage negative": pickled(tensor(storage(elements=b"J\xff\xff\xff\xff"))),
    "storage larger": pickled(tensor(storage(elements=b"K\x05"))),
    "storage smaller": pickled(tensor(storage(elements=b"K\x03"))),
    "storage huge": pickled(tensor(storage(elements=b"\x8a\x09" + bytes(8) + b"\x01"))),
    "storage of a string": pickled(tensor(storage(elements=text("4")))),
    "view of no storage": pickled(tensor(b"N")),
    "view beyond the end": pickled(tensor(storage(), size=b"K\x05\x85")),
    "view offset": pickled(tensor(storage(), offset=b"K\x01")),
    "view offset negative": pickled(tensor(storage(), offset=b"J\xff\xff\xff\xff")),
    "view stride": pickled(tensor(storage(), stride=b"K\x02\x85")),
    "view stride negative": pickled(tensor(storage(), stride=b"J\xff\xff\xff\xff\x85")),
    "view size negative": pickled(tensor(storage(), size=b"J\xff\xff\xff\xff\x85")),
    "view of terabytes": pickled(tensor(storage(), size=b"J\xff\xff\xff\x7f\x85", stride=b"K\x00\x85")),
    "view beyond 64 bits": pickled(tensor(storage(), size=b"\x8a\x09" + bytes(8) + b"\x01\x85", stride=b"K\x00\x85")),
    "view of two shapes": pickled(tensor(storage(), stride=b"K\x01K\x01\x86")),
    "view of many axes": pickled(tensor(storage(), size=b"(" + b"K\x01" * 9 + b"t", stride=b"(" + b"K\x01" * 9 + b"t")),
    "view of a fraction": pickled(tensor(storage(), size=b"G" + struct.pack(">d", 4.0) + b"\x85")),
    "view of a record": pickled(tensor(storage(), size=RECORD + b")R")),
    "nested marks": pickled(b"(" * DEEP),
}  # fmt: skip


@pytest.mark.parametrize("opcodes", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(folder, opcodes):
    path = write_zip(folder / "bad.pt", opcodes, {"data/0": struct.pack("<4f", 1, 2, 3, 4)})
    message = refusal(path, read_pickled_zip)
    assert "RuntimeError" not in message  # that would be torch's: a tensor was asked for that must not be


ODD = {  # sound pickles of what is no network
    "nested lists": pickled(b"]" * DEEP + b"a" * (DEEP - 1)),
    "nested tuples": pickled(b")" + b"\x85" * DEEP),
    "nested dicts": pickled(b"}" + b"K\x01}" * DEEP + b"s" * DEEP),
    "list in itself": pickled(b"]q\x00h\x00a"),
    "dict in itself": pickled(b"}q\x00" + text("model") + b"h\x00s"),
    "memo index of gigabytes": pickled(b"Nr\xff\xff\xff\xf0"),  # Python's unpickler in C takes 64 GB for it
    "memo index in digits": pickled(b"Np4000000000\n"),
    "a tensor": pickled(tensor(storage())),
    "a class": pickled(RECORD),
    "a number of digits": pickled(b"\x8b" + struct.pack("<i", 1 << 16) + b"\x7f" * (1 << 16)),
}  # fmt: skip


@pytest.mark.parametrize("opcodes", ODD.values(), ids=ODD.keys())
def test_odd(folder, opcodes):
    path = write_zip(folder / "odd.pt", opcodes, {"data/0": struct.pack("<4f", 1, 2, 3, 4)})
    assert "expected a network under 'ema' or 'model', or a state dict" in refusal(path)


def test_what_the_malformed_ones_are_made_of_is_sound(folder):
    path = write_zip(folder / "good.pt", pickled(tensor(storage())), {"data/0": struct.pack("<4f", 1, 2, 3, 4)})
    assert read_pickled_zip(path).tolist() == [1, 2, 3, 4]


HARMLESS = {  # what fine-tuned checkpoints hold besides the network: it becomes records and plain values
    "_codecs.encode": call("_codecs", "encode", text("abc"), text("latin1")),
    "argparse.Namespace": b"cargparse\nNamespace\n)\x81}" + text("lr") + b"K\x01sb",
    "pathlib.PosixPath": call("pathlib", "PosixPath", text("/"), text("runs")),
    "datetime.datetime": call("datetime", "datetime", b"C\x0a" + bytes(10)),
    "numpy scalar": call("numpy._core.multiarray", "scalar", b"N", b"C\x08" + bytes(8)),
    "torch.load": call("torch", "load", text("other.pt")),
    "torch storage bytes": call("torch.storage", "_load_from_bytes", b"C\x00"),
    "set": call("__builtin__", "set", b"]" + text("a") + b"a"),
    "complex": call("builtins", "complex", b"K\x01", b"K\x02"),
    "foreign class": b"cos2\nsystem\n" + b"(" + TOUCH + b"tR",
    "list subclass": RECORD + b")\x81(K\x01K\x02e",
    "dict subclass": RECORD + b")\x81(K\x01K\x02u",
}  # fmt: skip


@pytest.mark.parametrize("opcodes", HARMLESS.values(), ids=HARMLESS.keys())
def test_harmless_company_is_accepted(folder, opcodes):
    modules = set(sys.modules)
    root = read_pickled_zip(write_zip(folder / "good.pt", pickled(b"}" + text("other") + opcodes + b"s")))
    assert list(root) == ["other"]
    assert not {m.split(".")[0] for m in set(sys.modules) - modules} & {"numpy", "os2", "foo", "ultralytics"}


def test_names_in_a_message_are_printable(folder):
    opcodes = b"\x80\x04" + text("os") + text("\x1b[2Jx\ny" * 100) + b"\x93"
    refusal(write_zip(folder / "bad.pt", opcodes))
    network = b"\x80\x04}" + text("model") + text("a\x1b[2J\nb") + text("C" * 10_000) + b"\x93)\x81s."
    assert "holds no weights" in refusal(write_zip(folder / "bad.pt", network))
    weight = text("_parameters") + b"}" + text("w") + tensor(storage()) + b"s"
    names = text("names") + text("a\x1b[2J\nb") + text("C") + b"\x93)\x81"
    network = b"\x80\x04}" + text("model") + RECORD + b")\x81}(" + weight + names + b"ubs."
    path = write_zip(folder / "bad.pt", network, {"data/0": bytes(16)})
    assert "expected class names as strings, found <a\\x1b[2J\\nb.C>" in refusal(path)
