"""Real runs on Ray: what y12-infer says, each input once, whatever is killed; and an end, however few processors."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.batch.conftest import ROOT, lines, parts, rows, under_way, wait_for, write_images
from y12.runtime.cli.infer import main as infer

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow, pytest.mark.usefixtures("ray")]

LARGE = (2000, 2500)  # decoded, a part of these takes a worker seconds


def test_it_says_what_y12_infer_says(colours, tmp_path, start, capfd):
    damaged = set(range(5, 200, 100))  # 1 %
    images = write_images(tmp_path / "images", 200, damaged)
    listed = tmp_path / "list.txt"
    listed.write_text("images\nimages/00000.jpg\nmissing.jpg\n")
    output = tmp_path / "out"
    code, out, err = start(colours, listed, "--output", output, "--json", "--coco", "--num-cpus", "2").ended()
    assert code == 0, err
    assert infer([str(colours), str(listed), "--json", "--provider", "cpu"]) == 1  # three cannot be read
    said = lines(capfd.readouterr().out)
    assert lines("".join(path.read_text() for path in (output / "jsonl").iterdir())) == said
    found = rows(output)
    assert found.keys() == said.keys()
    assert len(found) == 201
    for path, row in found.items():
        assert row["error"] == said[path].get("error")
        boxes = [each["box_xyxy"] for each in said[path].get("detections", ())]
        assert [[round(x, 3) for x in box] for box in row["boxes"] or ()] == boxes
    assert "errors       3 (2 not decoded, 1 missing)" in out
    coco = json.loads((output / "coco.json").read_text())
    assert len(coco["images"]) == 198
    assert len(coco["annotations"]) == sum(len(line.get("detections", ())) for line in said.values())
    assert sorted(each["id"] for each in coco["annotations"]) == list(range(1, len(coco["annotations"]) + 1))
    own = ("201 images", "note: for 201", "plan: ", "y12-batch: ")
    assert [line for line in err.splitlines() if not line.startswith(own)] == []  # nothing of Ray's
    assert images.is_dir()


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_it_ends_however_few_processors_there_are_and_when_resumed(colours, tmp_path, start, cpus):
    images, output = write_images(tmp_path / "images", 70), tmp_path / "out"
    words = (colours, images, "--output", output, "--num-cpus", cpus)
    code, _, err = start(*words).ended()
    assert code == 0, err
    assert f"plan: {cpus} worker" in err
    lost = sorted((output / "parquet").iterdir())[1]
    lost.unlink()
    code, out, err = start(*words, "--resume").ended()
    assert code == 0, err
    assert "70, 32 of them now" in out
    assert len(rows(output)) == 70


def test_a_worker_that_is_killed_while_it_holds_a_part_loses_nothing(colours, tmp_path, start):
    images, output = write_images(tmp_path / "images", 96, damaged={3}, hw=LARGE), tmp_path / "out"
    run = start(colours, images, "--output", output, "--num-cpus", "2", "--workers", "1")
    held = wait_for(lambda: under_way(output), run)
    (worker,) = run.workers()
    subprocess.run(["kill", "-9", str(worker)], check=True)
    assert not held <= {Path(part).with_suffix(".json").name for part in parts(output)}  # it was not done
    code, out, err = run.ended()
    assert code == 0, err
    assert len(rows(output)) == 96
    assert "errors       1 (1 not decoded)" in out
    assert under_way(output) == set()


def test_a_driver_that_is_killed_is_resumed(colours, tmp_path, start):
    images, output = write_images(tmp_path / "images", 96, hw=LARGE), tmp_path / "out"
    words = (colours, images, "--output", output, "--num-cpus", "2", "--workers", "1")
    first = start(*words)
    done = wait_for(lambda: parts(output), first)
    first.kill()
    assert len(done) < 3
    refused = start(*words).ended()
    assert refused[0] == 1
    assert "--resume goes on with it" in refused[2].replace("\n", " ")
    before = {part: (output / "parquet" / part).stat().st_mtime_ns for part in done}
    code, out, err = start(*words, "--resume").ended()
    assert code == 0, err
    assert f"{len(done)} of them done" in err or "2 of them done" in err
    assert len(rows(output)) == 96
    assert before == {part: (output / "parquet" / part).stat().st_mtime_ns for part in done}
    assert "images       96, " in out


def test_a_machine_that_is_lost_takes_nothing_with_it(colours, tmp_path, start):
    images, output = write_images(tmp_path / "images", 160, hw=LARGE), tmp_path / "out"
    script = Path(__file__).with_name("two_nodes.py")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([sys.executable, script], **pipes) as cluster:
        address = cluster.stdout.readline().strip()
        assert address
        run = start(colours, images, "--output", output, "--address", address)
        held = wait_for(lambda: len(under_way(output)) == 2 and under_way(output), run)
        cluster.stdin.write("lose\n")
        cluster.stdin.flush()
        assert cluster.stdout.readline() == "lost\n"
        code, _, err = run.ended()
        cluster.stdin.close()
        cluster.wait(120)
    assert code == 0, err
    assert "plan: 2 workers of 1 CPU; 2 CPU on 2 machines, 0 CPU left" in err
    assert "plan: 1 worker of 1 CPU; 1 CPU" in err  # what the lost machine held was done by the other
    assert len(held) == 2
    assert len(rows(output)) == 160


def test_what_all_failed_is_3_and_a_stranger_s_cluster_is_never_joined(colours, tmp_path, start):
    images, output = write_images(tmp_path / "images", 3, damaged={0, 1, 2}), tmp_path / "out"
    run = start(colours, images, "--output", output, "--num-cpus", "1", RAY_ADDRESS="192.0.2.1:6379")
    code, out, err = run.ended()
    assert code == 3, err
    assert "errors       3 (3 not decoded)" in out
    assert all(row["error"] for row in rows(output).values())


def test_sigterm_ends_it_soon_and_leaves_nothing_of_ray(colours, tmp_path, start):
    images, output = write_images(tmp_path / "images", 96, hw=LARGE), tmp_path / "out"
    run = start(colours, images, "--output", output, "--num-cpus", "1")
    wait_for(lambda: under_way(output), run)
    run.process.terminate()
    began = time.monotonic()
    code, _, err = run.ended()
    assert code == 130, err
    assert time.monotonic() - began < 60
    assert run.workers() == []


@pytest.mark.parametrize("seconds", [0.2, 1.0, 2.0])
def test_sigterm_while_ray_starts_leaves_nothing_of_it(colours, tmp_path, start, seconds):
    """Ray sets handlers of its own then, and forgets what it has started so far."""
    images, output = write_images(tmp_path / "images", 4), tmp_path / "out"
    with tempfile.TemporaryDirectory(prefix="y12-", dir="/tmp") as short:  # Ray's sockets are in it
        run = start(colours, images, "--output", output, "--num-cpus", "1", TMPDIR=short)
        (folder,) = wait_for(lambda: list(Path(short).glob("y12-ray-*")), run)
        time.sleep(seconds)
        run.process.terminate()
        code, _, err = run.ended()
        assert code == 130, err
        assert not folder.exists()
        told = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder).encode() in read(path)]
        assert told == []


def read(path):
    """Return a file's bytes, none of a process that has ended."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""
