"""A web server on loopback whose files behave as they are told to: well, or in the ways of bad servers."""

import ssl
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ETAG = '"one"'


class Handler(BaseHTTPRequestHandler):
    """Answers by what the site says of the path."""

    protocol_version = "HTTP/1.1"
    server: "Site"

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.asked.append((self.path, dict(self.headers.items())))
        with suppress(BrokenPipeError, ConnectionResetError):
            self.server.pages.get(path, missing)(self)

    do_HEAD = do_GET

    def head(self, status, **headers):
        """Send a head; underscores of the names stand for dashes."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_):
        """Say nothing."""


class Site(ThreadingHTTPServer):
    """The server.

    Attributes:
        pages: what answers, by path.
        asked: every request's address and headers.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, context: ssl.SSLContext | None = None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Callable[[Handler], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        self.scheme = "http" if context is None else "https"
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request, client_address):
        """A client that goes away is what some tests are about."""

    def at(self, path, page):
        """Let a page answer there; return its address."""
        self.pages[path] = page
        return f"{self.scheme}://127.0.0.1:{self.server_port}{path}"

    def ranges(self):
        """Return the parts that were asked for; None for a whole file."""
        return [headers.get("Range") for _, headers in self.asked]

    @contextmanager
    def open(self):
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self.shutdown()
            self.server_close()
            thread.join()


def missing(handler):
    handler.head(404, Content_Length=0)


def good(content, etag=ETAG, **headers):
    """Serve a file as a good server does: parts of it, and that it is still the same."""

    def page(handler):
        given = headers | ({"ETag": etag} if etag else {})
        if etag and handler.headers.get("If-None-Match") == etag:
            return handler.head(304, **given)
        start = wanted_start(handler, etag, content)
        rest = content[start:]
        if start:
            given["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.head(206 if start else 200, Content_Length=len(rest), **given)
        handler.wfile.write(rest)

    return page


def wanted_start(handler, etag, content):
    """Return from where on a client wants the file, and may have it."""
    asked = handler.headers.get("Range", "")
    if not asked or handler.headers.get("If-Range", etag) != etag:
        return 0
    return min(int(asked.removeprefix("bytes=").removesuffix("-")), len(content))


def breaking(content, each, times=10**9, etag=ETAG):
    """Break off after so many bytes, so many times, and be good then."""
    left = [times]

    def page(handler):
        if not left[0]:
            return good(content, etag)(handler)
        left[0] -= 1
        start = wanted_start(handler, etag, content)
        given = {"ETag": etag} if etag else {}
        if start:
            given["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.head(206 if start else 200, Content_Length=len(content) - start, **given)
        handler.wfile.write(content[start : start + each])
        handler.hang_up()

    return page


def without_ranges(content, each=None):
    """Serve all of a file whatever is asked for; at first break off after `each` bytes."""
    first = [each is not None]

    def page(handler):
        handler.head(200, Content_Length=len(content), ETag=ETAG, Accept_Ranges="none")
        if first[0]:
            first[0] = False
            handler.wfile.write(content[:each])
            return handler.hang_up()
        handler.wfile.write(content)

    return page


def raw(status, body=b"", /, **headers):
    """Say exactly this, and close the connection."""

    def page(handler):
        handler.head(status, **headers)
        handler.wfile.write(body)
        handler.hang_up()

    return page


def chunked(content):
    """Do not say how long it is, and give it in chunks."""

    def page(handler):
        handler.head(200, Transfer_Encoding="chunked")
        for i in range(0, len(content), 1000):
            piece = content[i : i + 1000]
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return page


def endless(handler):
    """Give chunks without end."""
    handler.head(200, Transfer_Encoding="chunked")
    while not handler.server.over.is_set():
        handler.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")


def slow(content, pause_s, each=1, first=0):
    """Give the first bytes at once, and then so few at a time that nobody would wait for the rest."""

    def page(handler):
        handler.head(200, Content_Length=len(content), ETag=ETAG)
        handler.wfile.write(content[:first])
        for i in range(first, len(content), each):
            if handler.server.over.wait(pause_s):
                return
            handler.wfile.write(content[i : i + each])

    return page


def silent(handler):
    """Take the request, and say nothing."""
    handler.server.over.wait(60)
    handler.hang_up()


def paced(content, rate, etag=ETAG):
    """Serve as a good server does, at so many bytes a second."""

    def page(handler):
        start = wanted_start(handler, etag, content)
        given = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        handler.head(206 if start else 200, Content_Length=len(content) - start, ETag=etag, **given)
        for i in range(start, len(content), rate // 20):
            handler.wfile.write(content[i : i + rate // 20])
            time.sleep(0.05)

    return page
