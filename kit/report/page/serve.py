"""Serve a page on this machine alone, until Ctrl-C: for a browser that reads it through a tunnel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

from kit.errors import UsageError


class _Only(SimpleHTTPRequestHandler):
    """Gives the page and the photos beside it, and nothing else of the folder."""

    allowed: str = ""

    def do_GET(self) -> None:
        """Answer, or say that there is no such file."""
        path = unquote(self.path.partition("?")[0]).lstrip("/")
        stem = Path(self.allowed).stem
        if path == "":
            self.path = f"/{quote(self.allowed)}"
        elif path != self.allowed and not (path.startswith(f"{stem}-photos/photos-") and ".." not in path):
            self.send_error(404)
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


def server_of(path: Path, port: int) -> ThreadingHTTPServer:
    """Return a server that gives a page, and the photos beside it, to this machine.

    Args:
        port: 0: any that is free.

    Raises:
        UsageError: the port is taken.
    """
    handler = type("Handler", (_Only,), {"allowed": path.name})
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), functools.partial(handler, directory=str(path.parent)))
    except OSError as error:
        raise UsageError(f"Port {port} cannot be used ({error.strerror}). Take another one: --port 0") from None


def serve(path: Path, port: int, *, say: Callable[[str], None]) -> None:
    """Serve a page at `http://localhost:PORT/` until Ctrl-C. Raises `UsageError` where the port is taken."""
    with server_of(path, port) as server:
        say(f"Served at http://localhost:{server.server_address[1]}/ until Ctrl-C")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("Ended.")
