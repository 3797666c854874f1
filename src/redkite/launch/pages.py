"""The pages of a node that clients do not ask: whether it is well, and its numbers, for whoever watches a cluster.

A proxy has the same pages beside those for clients. Nothing here names a collection, so that nobody is asked who he is;
where that is still too much, `host` is an address that only those who watch can reach.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from redkite.cluster.figures import Figure
from redkite.errors import Unavailable
from redkite.logs import get_logger
from redkite.server.exposition import Sample, exposition
from redkite.server.gauges import process_samples
from redkite.server.metrics import Counted

log = get_logger(__name__)

_PATIENCE: Final = 10.0
"""Seconds for whoever asks to say what."""
_TEXT: Final = "text/plain; charset=utf-8"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


def metrics_text(figures: Iterable[Figure]) -> str:
    """What Prometheus reads: of the process, of its messages, of the node."""
    samples = [*process_samples(), *(Sample(*figure) for figure in figures)]
    return exposition(Counted(), samples)


class Pages:
    """`/healthz`, `/livez` and `/metrics` over HTTP, from its making until it is closed."""

    def __init__(
        self, host: str, port: int, health: Callable[[], tuple[str, ...]], figures: Callable[[], Iterable[Figure]]
    ) -> None:
        """`port` 0: a free one, as where another process has it. Raises Unavailable for a host that is not here."""
        self._health, self._figures = health, figures
        self._server = self._bound(host, port)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="pages", daemon=True).start()

    def _bound(self, host: str, port: int) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"pages": self})
        for wanted in (port, 0):
            try:
                return _Server((host, wanted), handler)
            except OSError as error:
                reason = error.strerror or str(error)
        raise Unavailable(f"health and metrics cannot be served at {host}: {reason}")

    def page(self, path: str) -> tuple[int, str, str]:
        """Status, kind and text of a page."""
        if path == "/livez":
            return 200, _TEXT, "OK"
        if path == "/healthz":
            reasons = self._health()
            return (500, _TEXT, "; ".join(reasons)) if reasons else (200, _TEXT, "OK")
        if path == "/metrics":
            return 200, _PROMETHEUS, metrics_text(self._figures())
        return 404, _TEXT, "404 page not found"

    def close(self) -> None:
        """Answer nothing any more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    """One question."""

    pages: Pages
    timeout = _PATIENCE

    def do_GET(self) -> None:
        try:
            status, kind, text = self.pages.page(self.path.partition("?")[0])
        except Exception as error:  # it is told to who asks, and the node goes on
            log.exception("the page %s could not be made", self.path)
            status, kind, text = 500, _TEXT, f"{type(error).__name__}: {error}"
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  as the library calls it

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)
