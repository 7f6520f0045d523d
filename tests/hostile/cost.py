"""What something cost: processor time, and how much more memory the process had at most."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from y12.errors import Y12Error

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Cost:
    """Seconds of processor time and MiB above what was there before."""

    seconds: float = 0.0
    mib: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure a block; memory is told on Linux only, elsewhere it stays 0."""
    cost = Cost()
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # the highest resident memory starts anew
    gc.freeze()  # what thousands of tests before have left is not this one's to walk through
    before, began = _resident("VmRSS"), time.process_time()
    try:
        yield cost
    finally:
        cost.seconds = time.process_time() - began
        gc.unfreeze()
        cost.mib = max(0.0, _resident("VmHWM") - before)


def _resident(field: str) -> float:
    if not _STATUS.exists():
        return 0.0
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def refusal(what: str, act: Callable[[], object], *, seconds: float, mib: float) -> str:
    """Return the one line that an act ends in; "" where it succeeds. Either way it stays within the bounds."""
    with measured() as cost:
        message = _message(what, act)
    assert cost.seconds <= seconds, f"{what}: {cost.seconds:.2f} s of processor time, at most {seconds:.2f}"
    assert cost.mib <= mib, f"{what}: {cost.mib:.0f} MiB, at most {mib:.0f}"
    return message


def refused(what: str, act: Callable[[], object], *, seconds: float, mib: float) -> str:
    """Return the one line of a refusal, which must come, within the bounds."""
    message = refusal(what, act, seconds=seconds, mib=mib)
    assert message, f"{what}: expected a refusal, found none"
    return message


def _message(what: str, act: Callable[[], object]) -> str:
    message = ""
    try:
        act()
    except Y12Error as error:
        message = str(error)
    except BaseException as error:
        pytest.fail(f"{what}: expected a refusal by Y12Error or success, found {type(error).__name__}: {error!s:.200}")
    assert message.isprintable(), f"{what}: {message!r}"
    assert len(message) <= 900, f"{what}: {message}"  # 500 and a long temporary path, perhaps twice
    return message
