"""What every command of y12 does the same way: exit codes and messages.

Exit codes: 0 done, 1 a Y12Error (one line on standard error), 2 a wrong command line, 130 interrupted by
Ctrl-C or SIGTERM, 141 whoever read standard output went away.
"""

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator

from y12.errors import MissingPackageError, Y12Error
from y12.runtime.runs import is_any_lost
from y12.text import one_line

# Of the packages that are imported under another name than PyPI has them: what to ask pip for.
_ON_PYPI = {"lightning_fabric": "lightning-fabric", "yaml": "pyyaml"}

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_PIPE_CLOSED = 1, 2, 130, 141


def run_command(body: Callable[[], int]) -> int:
    """Run a command's body and give its exit code; a Y12Error becomes one line, a bug keeps its traceback."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # a command's standard error is for its own messages; -W shows them
    with _sigterm_as_ctrl_c():
        code = _code_of(body)
    if is_any_lost():  # the interpreter would wait for it, or take its libraries from under it
        os._exit(code)
    return code


def _code_of(body: Callable[[], int]) -> int:
    try:
        code = body()
        sys.stdout.flush()
    except Y12Error as error:
        say(f"error: {one_line(str(error), limit=None)}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return EXIT_PIPE_CLOSED
    return code


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: files are whole or not there, and what is half made is removed."""
    if threading.current_thread() is not threading.main_thread():  # only there can it be said
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _drop_output() -> None:
    """Lead standard output nowhere: at its end Python writes what is left in it, and would say that it failed (120)."""
    with contextlib.suppress(OSError):  # one that is no file, as in a test, has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str) -> None:
    """Write a message for people to standard error."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201


def put(text: str) -> None:
    """Write data to standard output, line by line, so that a pipe sees it at once."""
    print(text, flush=True)  # noqa: T201


def require_packages(packages: Iterable[str], extra: str, program: str) -> None:
    """Refuse in one line where y12 was installed without an extra.

    Args:
        packages: of the extra, as they are imported.
        extra: which holds them.
        program: the command, or its option, that needs them.

    Raises:
        MissingPackageError: a package of it is not installed.
    """
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise MissingPackageError(_ON_PYPI.get(package, package), extra, program)
