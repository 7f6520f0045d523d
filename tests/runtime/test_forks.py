"""A Runtime that is there when its process forks: the new process opens its own, and ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

END_S = 5.0  # a process that waits for threads which are not there never ends

BEGIN = """
import multiprocessing, os, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
from y12 import Runtime
from y12.errors import Y12Error
runtime = Runtime(sys.argv[1])
image = sys.argv[2]
parent = len(runtime.infer(image))

def found(_=None):
    return len(runtime.infer(image))

def forked(body):
    # Run a function in a forked process, which then ends as any program does; give its exit code.
    child = os.fork()
    if child == 0:
        sys.exit(body() or 0)
    until = time.monotonic() + 5
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return "never ended"
        time.sleep(0.02)

def says(call):
    try:
        return f"{call()}"
    except Y12Error as error:
        return str(error)
"""


@pytest.fixture
def picture(tmp_path):
    image = np.full((64, 64, 3), 60, np.uint8)
    image[16:40, 8:32] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "picture.png"), image)
    return tmp_path / "picture.png"


@pytest.fixture
def said_by(make_onnx, picture):
    """Run a program after `BEGIN`, with threads in ONNX Runtime, and give what it printed."""

    def run(program: str, *arguments: str) -> list[str]:
        code = BEGIN + textwrap.dedent(program)
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        command = [sys.executable, "-c", code, str(make_onnx()), str(picture), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    return run


ENDS = {
    "exit": "found()",
    "unused": "None",
    "close": "runtime.close()",
    "close after use": "(found(), runtime.close()) and None",
    "del": "globals().pop('runtime') and None",
    "del after use": "(found(), globals().pop('runtime')) and None",
}


@pytest.mark.parametrize("stream", ["", "stream = runtime.stream([image] * 50); next(stream)"], ids=["", "stream"])
def test_a_forked_process_ends_however_it_does(said_by, stream):
    bodies = "".join(f"    {name!r}: lambda: {body} and 0,\n" for name, body in ENDS.items())
    lines = said_by(
        f"{stream}\nENDS = {{\n{bodies}}}\n"
        "for name, body in ENDS.items():\n    print(name, forked(body))\n"
        "print('crash', forked(os.abort))\nprint('parent', found() == parent == 1)\n"
    )
    assert lines == [*(f"{name} 0" for name in ENDS), f"crash {-signal.SIGABRT}", "parent True"]


def test_the_new_process_finds_what_the_old_one_finds(said_by):
    program = """
    def same():
        results = [found() for _ in range(3)] + [len(d) for d in runtime.stream([image] * 5)]
        threads = [threading.Thread(target=lambda: results.append(found())) for _ in range(4)]
        [t.start() for t in threads], [t.join() for t in threads]
        return 0 if results == [parent] * 12 else 1
    print(forked(same), forked(lambda: forked(same)))
    """
    assert said_by(program) == ["0 0"]  # a process that was forked may fork


def test_pools_of_processes(said_by):
    program = """
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(found, range(4)) == [parent] * 4)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        print(list(pool.map(found, range(4))) == [parent] * 4)
    """
    assert said_by(program) == ["True", "True"]


def test_a_stream_is_of_the_process_that_opened_it(said_by):
    program = """
    stream = runtime.stream([image] * 50)
    next(stream)
    print(forked(lambda: print(says(lambda: next(stream)), flush=True)))
    print(len(list(stream)))
    """
    assert said_by(program) == [
        "expected a stream of this process, found one that was opened before a fork: open another",
        "0",
        "49",
    ]


def test_a_file_that_changed_is_not_opened_in_its_place(said_by):
    program = """
    def changed():
        with open(sys.argv[1], "ab") as file:
            file.write(b"\\0")
        print(says(found), flush=True)
    print(forked(changed), found() == parent)
    def gone():
        os.unlink(sys.argv[1])
        print(says(found), flush=True)
    print(forked(gone))
    """
    lines = said_by(program)
    assert lines[1:3] == ["0 True", lines[0]]
    assert lines[0].endswith(
        "colours.onnx: expected the file that was opened before a fork, found another in its place; open the new one "
        "in this process"
    )


def test_a_closed_runtime_stays_closed(said_by):
    program = """
    runtime.close()
    print(forked(lambda: print(says(found), flush=True)))
    """
    assert said_by(program)[0].endswith("the executor was closed; open another")


def test_what_is_on_a_gpu_is_not_inherited(said_by):
    """With what the pipeline says of itself; no GPU takes part."""
    program = """
    runtime._pipeline.on_gpu = True
    print(forked(lambda: print(says(found), flush=True)), forked(lambda: runtime.close()), found() == parent)
    """
    line, rest = said_by(program)
    assert "found one on a GPU that was opened before a fork: open it in the process that uses it" in line
    assert rest == "0 0 True"


APPLICATION = """
import json, os, sys
from y12 import Runtime
runtime = Runtime(os.environ["MODEL"])
runtime.infer(os.environ["PICTURE"])
stream = runtime.stream([os.environ["PICTURE"]] * 50)
next(stream)

def application(environ, start_response):
    found = len(runtime.infer(os.environ["PICTURE"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {found}".encode()]
"""


def test_gunicorn_that_preloads_its_application(make_onnx, picture, tmp_path):
    """Workers answer, are renewed by SIGHUP, and all end at SIGTERM."""
    pytest.importorskip("gunicorn")
    (tmp_path / "served.py").write_text(APPLICATION)
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"MODEL": str(make_onnx()), "PICTURE": str(picture)}
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:0"]
    log = tmp_path / "log"
    with log.open("w") as stream:
        server = subprocess.Popen([*command, "served:application"], cwd=tmp_path, env=environment, stderr=stream)
        try:
            address = waited_for(lambda: at(log))
            assert {answer(address)[1] for _ in range(10)} == {"1"}
            before = {answer(address)[0] for _ in range(20)}
            server.send_signal(signal.SIGHUP)
            waited_for(lambda: not before & {answer(address)[0] for _ in range(5)})
            server.terminate()
            began = time.monotonic()
            assert server.wait(END_S + 5) == 0
            assert time.monotonic() - began < END_S
        finally:
            server.kill()


def at(log: Path) -> str:
    """Where a server says that it listens, once a worker is there."""
    text = log.read_text()
    return text.partition("Listening at: ")[2].partition(" ")[0] if "Booting worker" in text else ""


def answer(address: str) -> list[str]:
    with urllib.request.urlopen(address, timeout=10) as response:
        return response.read().decode().split()


def waited_for(condition, limit_s=30.0):
    until = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return value
