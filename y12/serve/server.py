"""The service on a port: one socket, uvicorn on it, and an end that answers what was accepted."""

import ipaddress
import logging
import resource
import socket
import sys
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from y12.errors import OptionsError
from y12.runtime.cli.common import say
from y12.serve.protocol import Protocol
from y12.text import one_line

__all__ = ["GRACE_S", "address_of", "listening", "serve"]

_BACKLOG = 2048
_IDLE_S = 30  # that a connection is kept without a request
GRACE_S = 30  # that a stop waits for what was accepted
# Of Python's turns between threads. At its default of 5 ms, each read and write of the thread that answers waits so
# long for the one that runs the network: under a high load it answers fifty times slower.
_TURN_S = 0.0001


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; done before a model is loaded, so that a port in use is told at once.

    Raises:
        OptionsError: the address is none of this machine's, or is in use.
    """
    try:
        return _listening(host, port)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise OptionsError(
            f"{host}:{port}: expected a free address of this machine, found one that cannot be listened on "
            f"({one_line(str(why), 100)}): stop what listens there, or choose another by --host and --port"
        ) from error


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:  # the system would take the rest of a division
        raise OverflowError("no port: they are 0 to 65535")
    wanted = {"type": socket.SOCK_STREAM, "proto": socket.IPPROTO_TCP, "flags": socket.AI_PASSIVE}
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, **wanted)[0]
    # With its protocol named, unlike `socket.create_server`'s: asyncio sends small pieces at once on such only, and a
    # client that waits for the second piece of an answer would wait for 40 ms.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> str:
    """Return a listening socket's address, as it stands in an URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_local(listener: socket.socket) -> bool:
    """Return whether only this machine reaches a listening socket."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def serve(app: ASGIApp, listener: socket.socket, head_s: float) -> None:
    """Answer requests until SIGTERM or Ctrl-C, and then what was accepted; a second Ctrl-C does not wait for it.

    Args:
        app: the addresses.
        listener: from `listening`.
        head_s: how long a request's head may take to come.

    Raises:
        KeyboardInterrupt: it was asked not to wait.
    """
    _raise_file_limit()
    sys.setswitchinterval(_TURN_S)
    logging.getLogger("uvicorn").addHandler(_Said(logging.WARNING))
    logging.getLogger("uvicorn").propagate = False
    config = uvicorn.Config(
        app,
        http=type("Timed", (Protocol,), {"head_s": head_s}),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # what is less is about single clients, who could fill the log
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = uvicorn.Server(config)
    try:
        server.run([listener])
    except KeyboardInterrupt:  # uvicorn raises the signal again that ended it
        if server.force_exit or not server.should_exit:
            raise


def _raise_file_limit() -> None:
    """Let as many connections be open as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65536), hard))


class _Said(logging.Handler):
    """What uvicorn logs, as y12 says things: one printable line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        error = record.exc_info[1] if record.exc_info else None
        why = "" if error is None else f" ({type(error).__name__} {error})"
        say(f"{record.levelname.lower()}: {record.getMessage().strip()}{why}")
