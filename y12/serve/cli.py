"""y12-serve: an artefact as a service over HTTP."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from y12.remote.address import file_name, unsigned
from y12.runtime.cli.app import Command, main_of
from y12.runtime.cli.common import require_packages, say
from y12.runtime.cli.options import RuntimeOptions, number, option, positive, whole

if TYPE_CHECKING:
    import socket

    from y12.runtime.session import Runtime
    from y12.serve.options import ServeOptions

PACKAGES = ("fastapi", "httptools", "prometheus_client", "python_multipart", "uvicorn")
LISTENING, LIMITS = "Listening", "What is taken"
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Serve(RuntimeOptions):
    """What can be asked of y12-serve."""

    host: Annotated[
        str,
        option(
            metavar="ADDRESS", panel=LISTENING, help="address to listen on (127.0.0.1: only this machine reaches it)"
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, option(parser=whole, metavar="N", panel=LISTENING, help="port to listen on; 0 takes a free one (8080)")
    ] = 8080
    name: Annotated[
        str | None,
        option(metavar="NAME", panel=LISTENING, help="the model's name in addresses; default: the file's"),
    ] = None
    queue: Annotated[
        int,
        option(parser=positive, metavar="N", panel=LIMITS, help="images that may wait; further ones get 503 (64)"),
    ] = 64
    max_wait_ms: Annotated[
        float,
        option(
            "--max-wait-ms",
            parser=number,
            metavar="MS",
            panel=LIMITS,
            help="how long the first image of a batch waits for others (2)",
        ),
    ] = 2.0
    max_upload: Annotated[
        float,
        option("--max-upload", parser=number, metavar="MIB", panel=LIMITS, help="size of a request at most (32)"),
    ] = 32.0
    upload_timeout: Annotated[
        float,
        option(
            "--upload-timeout",
            parser=number,
            metavar="S",
            panel=LIMITS,
            help="seconds that a request may take to come (30)",
        ),
    ] = 30.0
    workers: Annotated[
        int,
        option(
            parser=positive,
            metavar="N",
            panel=LIMITS,
            help="threads on each device that run batches; with 2, decoding and the network overlap (1)",
        ),
    ] = 1
    timeout: Annotated[
        float | None,
        option(
            parser=number,
            metavar="S",
            panel=LIMITS,
            help="seconds that a run of the network may take before it counts as broken (60)",
        ),
    ] = 60.0

    def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C, and answer what was accepted."""
        return _serve(self)


COMMAND = Command(
    "y12-serve",
    "Serve an artefact over HTTP: the Open Inference Protocol (KServe V2) for programs, POST /detect for people.",
    Serve,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    return main_of(COMMAND, argv)


def _serve(asked: Serve) -> int:
    require_packages(PACKAGES, "serve", "y12-serve")
    options, name = _options(asked), _name(asked)
    from y12.serve.server import listening

    with ExitStack() as stack:
        listener = stack.enter_context(closing(listening(asked.host, asked.port)))
        runtimes = _opened(asked, stack)
        more = f" and {len(runtimes) - 1} more" if runtimes[1:] else ""
        say(f"{unsigned(asked.artefact)} on {runtimes[0].description}{more}")
        serve_on(listener, name, runtimes, options)
    return 0


def serve_on(listener: "socket.socket", name: str, runtimes: "Sequence[Runtime]", options: "ServeOptions") -> None:
    """Serve networks on a socket that listens, until SIGTERM or Ctrl-C, and answer what was accepted.

    Args:
        listener: from `y12.serve.server.listening`.
        name: of the model, in addresses.
        runtimes: one for each device.
        options: what is taken, and how much of it.
    """
    from y12.serve.app import make_app
    from y12.serve.server import serve
    from y12.serve.service import Service
    from y12.serve.tracing import traced

    service = Service(name, runtimes, options)
    service.start()
    try:
        _tell_address(listener)
        serve(traced(make_app(service)), listener, options.head_timeout_s)
        say("stopped; all that was accepted is answered")
    finally:
        service.close()


def _name(asked: Serve) -> str:
    """Return the model's name.

    Raises:
        OptionsError: it cannot stand in an address.
    """
    from y12.errors import OptionsError
    from y12.text import shown

    name = asked.name or Path(file_name(asked.artefact)).stem
    if "/" in name or not name.isprintable():
        raise OptionsError(f"--name: expected a name that can stand in an address, without /, found {shown(name)}")
    return name


def _options(asked: Serve) -> "ServeOptions":
    from y12.serve.options import ServeOptions

    return ServeOptions(
        queue=asked.queue,
        workers=asked.workers,
        max_wait_s=asked.max_wait_ms / 1e3,
        max_upload=int(asked.max_upload * _MIB) if isfinite(asked.max_upload) else 0,
        upload_timeout_s=asked.upload_timeout,
    )


def _opened(asked: Serve, stack: ExitStack) -> "list[Runtime]":
    """Open the artefact on each device, and run it once there.

    Raises:
        Y12Error: whatever `Runtime` refuses; or the network does not run.
    """
    from y12.errors import ExecutorError
    from y12.serve.batching import check_network

    runtimes = asked.open_each(stack)
    for runtime in runtimes:
        if problem := check_network(runtime):
            raise ExecutorError(f"{asked.artefact}: expected a network that runs on a gray image, found: {problem}")
    return runtimes


def _tell_address(listener: "socket.socket") -> None:
    from y12.serve.server import address_of, is_local

    if not is_local(listener):
        say(
            "note: whoever reaches this address can send images, and read /metrics: there is no password and no "
            "encryption. Put a proxy with both before it, or leave out --host"
        )
    say(f"listening on http://{address_of(listener)}: a page to try it, POST /detect, /v2, /metrics")


if __name__ == "__main__":
    sys.exit(main())
