"""An HTTP server that ranks texts as the providers of models do, by the number of words they share with the query."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


def relevance(query: str, text: str) -> float:
    words = set(query.split())
    return len(words & set(text.split())) / len(words)


@dataclass
class Call:
    path: str
    body: Any
    authorization: str | None


@dataclass
class ModelServer:
    """`answer` replaces the reply of the next calls: (status, bytes)."""

    calls: list[Call] = field(default_factory=list)
    answer: tuple[int, bytes] | None = None

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.calls.append(Call(self.path, body, self.headers.get("Authorization")))
                status, reply = outer.answer or (200, outer.ranked(self.path, body))
                self.send_response(status)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @staticmethod
    def ranked(path: str, body: Any) -> bytes:
        if path.endswith("/sentence-similarity"):
            asked = body["inputs"]
            return json.dumps([relevance(asked["source_sentence"], text) for text in asked["sentences"]]).encode()
        asked = body.get("input", body)
        texts = asked["texts"] if path == "/rerank" else asked["documents"]
        scores = [relevance(asked["query"], text) for text in texts]
        order = sorted(range(len(texts)), key=lambda place: -scores[place])
        name = "score" if path == "/rerank" else "relevance_score"
        results: Any = [{"index": place, name: scores[place]} for place in order]
        if path != "/rerank":
            results = {"output": {"results": results}} if "input" in body else {"results": results, "data": results}
        return json.dumps(results).encode()
