"""What every command of y12 does the same way: exit codes, messages, and what is written to a terminal.

Exit codes: 0 done, 1 failed (one line on standard error), 2 a wrong command line, 130 interrupted by Ctrl-C or
SIGTERM, 141 whoever read standard output went away.

Whatever is written goes through `say`, `put` or `put_json`: none of them writes what a terminal would obey.
"""

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator

from y12.errors import MissingPackageError, OutputError, Y12Error
from y12.interrupts import interrupts_noted
from y12.runtime.runs import lost_runs
from y12.text import LINE, one_line, printable_json, visible

# Of the packages that are imported under another name than PyPI has them: what to ask pip for.
_ON_PYPI = {
    "grpc": "grpcio",
    "lightning_fabric": "lightning-fabric",
    "mlflow": "mlflow-skinny",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
    "yaml": "pyyaml",
}

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_PIPE_CLOSED = 1, 2, 130, 141
TORCH_MIB = 768  # of address space, without which torch may end the process while it is loaded
TRACEBACK_VARIABLE = "Y12_TRACEBACK"
DATA_LINE = 5000  # characters of a line of data at most: a long path, or many classes, and no more
# How Python, numpy, OpenCV, torch and the loader of libraries say that they were given no memory, or no thread.
_NO_MEMORY = re.compile(
    r"(out of|not enough|insufficient|allocate) memory|bad.?alloc|map segment|start new thread|thread failed", re.I
)


def run_command(body: Callable[[], int]) -> int:
    """Run a command's body and give its exit code; whatever is raised becomes one line."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # a command's standard error is for its own messages; -W shows them
    before = lost_runs()  # not this command's: whoever calls a command from Python may have lost some of its own
    with interrupts_noted():
        code = _code_of(body)
    if lost_runs() - before:  # the interpreter would wait for it, or take its libraries from under it
        os._exit(code)
    return code


def _code_of(body: Callable[[], int]) -> int:
    try:
        _prepare_streams()
        code = body()
        _flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return EXIT_PIPE_CLOSED
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            import traceback

            traceback.print_exc()
        say(f"error: {_in_words(error.with_traceback(None))}")  # what its frames hold may be most of the memory
        with contextlib.suppress(OutputError, BrokenPipeError):
            _flush()
        return EXIT_FAILED
    return code


def _in_words(error: Exception) -> str:
    """Return what is wrong; of what y12 did not raise itself, also what can be done about it."""
    if isinstance(error, Y12Error):
        return str(error)
    kind, text = type(error).__name__, str(error)
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return f"not enough memory or threads ({one_line(f'{kind} {text}', 200)}); free some, or raise ulimit"
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{visible(error.filename, 300)}: "
        return f"{place}cannot be used ({error.strerror})"
    return (
        f"y12 did not expect {kind}: {one_line(text) or 'it says nothing more'}; {TRACEBACK_VARIABLE}=1 shows where it "
        "comes from: please report it with that"
    )


def check_memory(mib: int) -> None:
    """Refuse to load libraries that end the process themselves where they are given too little: OpenBLAS, torch.

    Raises:
        MemoryError: the machine, or `ulimit -v`, does not give so much; what is asked for is not touched.
    """
    import mmap

    try:
        mmap.mmap(-1, mib << 20, mmap.MAP_PRIVATE).close()
    except OSError as error:
        raise MemoryError(f"of {mib} MiB") from error


def check_output() -> None:
    """Refuse to work where the result could not be told.

    Raises:
        OutputError: standard output is closed.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed: lead it somewhere, such as to /dev/null")


def _prepare_streams() -> None:
    """Let nothing that is opened take the place of a closed stream, and write in any encoding."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest that is free is given
        pass
    os.close(number)
    if hasattr(sys.stdout, "reconfigure"):  # a terminal may have an encoding that knows few characters
        sys.stdout.reconfigure(errors="backslashreplace")


def _flush() -> None:
    if sys.stdout is not None:
        with _written():
            sys.stdout.flush()


@contextlib.contextmanager
def _written() -> Iterator[None]:
    check_output()
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        raise OutputError(f"standard output cannot be written ({error.strerror or error})") from error


def _drop_output() -> None:
    """Lead standard output nowhere: at its end Python writes what is left in it, and would say that it failed (120)."""
    with contextlib.suppress(OSError):  # one that is no file, as in a test, has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str) -> None:
    """Write a message for people to standard error, as one line of bounded length."""
    if sys.stderr is not None:  # it was closed
        with contextlib.suppress(OSError):  # there is nobody left to tell
            print(visible(message, LINE), file=sys.stderr, flush=True)  # noqa: T201


def put(*lines: str) -> None:
    """Write lines of data to standard output, each whole at once, so that a pipe sees them."""
    _write("\n".join(visible(line, DATA_LINE) for line in lines))


def put_json(text: str) -> None:
    """Write JSON to standard output."""
    _write(printable_json(text))


def _write(text: str) -> None:
    with _written():
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
