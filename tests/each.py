"""One property of many cases in one test: cases by the hundred cost more to collect than to check."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def each(cases: Iterable[tuple[str, Any]], check: Callable[[Any], None]) -> None:
    """Check every case, and fail with all that failed, each under its name."""
    failed: list[BaseException] = []
    count = 0
    for count, (name, case) in enumerate(cases, 1):  # noqa: B007 (told below)
        try:
            check(case)
        except (Exception, pytest.fail.Exception) as error:
            error.add_note(f"in the case: {name}")
            failed.append(error)
    assert count
    if failed:
        names = ", ".join(error.__notes__[-1].removeprefix("in the case: ") for error in failed)
        raise BaseExceptionGroup(f"{len(failed)} of {count} cases fail: {names}", failed)
