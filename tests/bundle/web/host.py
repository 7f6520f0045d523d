"""A static host for a bundle: what it is asked for is noted, and single files can be other ones, missing or late."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
LATE = "late"  # never, in fact


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        instead = self.server.instead.get(self.path, self)
        if instead is self:
            super().do_GET()
        elif instead is None:
            self.send_error(404)
        elif instead == LATE:
            self.server.ended.wait(60)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(instead)))
            self.end_headers()
            self.wfile.write(instead)

    def end_headers(self):
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_):
        pass


class _Host(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away before all has come is what some tests are about."""


@contextmanager
def hosted(folder, headers=(), instead=()):
    """Host a folder on loopback; gives the server, whose `url` and `asked` tell the rest."""
    server = _Host(("127.0.0.1", 0), partial(_Handler, directory=folder))
    server.headers, server.instead, server.asked = dict(headers), dict(instead), []
    server.ended = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
