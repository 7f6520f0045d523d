"""One process of the fuzzing: reads edited files until its processor time is over, and writes down what went wrong.

usage: worker.py FOLDER SECONDS SEED [KIND]

It counts its cases in FOLDER/count, by which `run.py` sees whether it still lives, and writes FOLDER/done at the end.
"""

import itertools
import json
import mmap
import resource
import shutil
import sys
import time
import warnings
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from material import Kind, kinds

from y12.errors import Y12Error
from y12.text import MESSAGE

CPU_SECONDS = 5.0  # of a case
MEMORY_BYTES = 3 << 29  # beyond what the process has when everything was loaded once
BATCH = 60  # cases of a kind, before the next kind's turn


class Worker:
    """Reads files of one kind after the other.

    Args:
        folder: its own.
        end: when to stop, by time.process_time.
    """

    def __init__(self, folder: Path, end: float) -> None:
        self.folder, self.end = folder, end
        (folder / "count").write_bytes(bytes(8))
        with (folder / "count").open("r+b") as file:
            self._counter = mmap.mmap(file.fileno(), 8)
        self.figures: dict[str, dict[str, float]] = {}
        self.failures: list[dict[str, str]] = []

    def run(self, names: dict[str, Kind], seeds: int) -> None:
        """Give each kind its turn, again and again."""
        for turn in itertools.count(seeds * 1000):
            for name, kind in names.items():
                if time.process_time() > self.end:
                    return
                self._batch(name, kind, turn)

    def _batch(self, name: str, kind: Kind, turn: int) -> None:
        @settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @seed(turn)
        @given(kind.contents)
        def read(content: bytes) -> None:
            if time.process_time() < self.end:
                self.case(name, kind, content)

        try:
            read()
        except BaseException as error:
            kept = self.folder / "failures" / f"{len(self.failures)}-{Path(kind.file).name}"
            kept.parent.mkdir(exist_ok=True)
            shutil.copy(self.folder / kind.file, kept)  # hypothesis ends with the smallest case
            self.failures.append({"kind": name, "what": f"{type(error).__name__}: {error!s:.300}", "file": str(kept)})

    def case(self, name: str, kind: Kind, content: bytes) -> None:
        """Read one file; whatever is raised but a Y12Error with a printable message is a failure."""
        path = self.folder / kind.file
        path.write_bytes(content)
        figures = self.figures.setdefault(name, {"cases": 0, "refused": 0, "slowest": 0.0})
        began = time.process_time()
        try:
            kind.read(path)
        except Y12Error as error:
            message = str(error)
            figures["refused"] += 1
            assert message.isprintable(), f"not one printable line: {message!r:.300}"
            assert 0 < len(message) <= MESSAGE, f"a line of {len(message)} characters: {message!r:.300}"
        took = time.process_time() - began
        figures["cases"] += 1
        figures["slowest"] = round(max(figures["slowest"], took), 2)
        self._counter[:8] = (int.from_bytes(self._counter[:8], "little") + 1).to_bytes(8, "little")
        assert took < CPU_SECONDS, f"took {took:.1f} s of processor time"


def main() -> None:
    """Load everything once, bound the memory, fuzz, and write down what was found."""
    warnings.simplefilter("ignore")
    folder, seconds, seeds = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    every = kinds(folder)
    names = {name: kind for name, kind in every.items() if name in (sys.argv[4:] or every)}
    for kind in names.values():
        (folder / kind.file).write_bytes(kind.sound)
        kind.read(folder / kind.file)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    worker = Worker(folder, time.process_time() + seconds)
    worker.run(names, seeds)
    (folder / "done").write_text(json.dumps({"figures": worker.figures, "failures": worker.failures}))


if __name__ == "__main__":
    main()
