"""An HTTP server that speaks the protocols of embedding providers. The vector of a text is made of its letters, so that
a test can say what it must be."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np

DIM = 4
TOKEN = "an-access-token"


def vector(text: str, dim: int = DIM) -> list[float]:
    """Letters counted by their number modulo `dim`."""
    counts = [0.0] * dim
    for letter in text:
        counts[ord(letter) % dim] += 1.0
    return counts


@dataclass
class Call:
    path: str
    body: Any
    headers: dict[str, str]


@dataclass
class Answer:
    """What the server says instead. `drip`: seconds between bytes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    drip: float = 0.0
    hang_up: bool = False


@dataclass
class EmbeddingServer:
    """`answers` are given to the next calls, in order; `always` to all. Each call waits for `together`."""

    calls: list[Call] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    always: Answer | None = None
    dim: int = DIM
    connections: int = 0
    certificate: str = ""
    together: threading.Barrier | None = None

    def __enter__(self) -> Self:
        outer = self
        self._lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                with outer._lock:
                    outer.connections += 1

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(raw) if raw.startswith((b"{", b"[")) else raw
                with outer._lock:
                    outer.calls.append(Call(self.path, body, {k.lower(): v for k, v in self.headers.items()}))
                    special = outer.answers.pop(0) if outer.answers else outer.always
                if outer.together is not None:
                    outer.together.wait()
                answer = special or Answer(body=json.dumps(outer.reply(self.path, body)).encode())
                outer.say(self, answer)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
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
    def say(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.hang_up:
            handler.close_connection = True
            return
        time.sleep(answer.wait)
        try:
            handler.send_response(answer.status)
            for name, value in answer.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(answer.body)))
            handler.end_headers()
            if not answer.drip:
                handler.wfile.write(answer.body)
                return
            for at in range(len(answer.body)):
                handler.wfile.write(answer.body[at : at + 1])
                handler.wfile.flush()
                time.sleep(answer.drip)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True

    # -- protocols --------------------------------------------------------------------------------
    def reply(self, path: str, body: Any) -> Any:
        steps = urlsplit(path).path
        if steps.endswith("/embeddings"):
            return self._numbered(body)
        if steps == "/v2/embed":
            vectors = [self._vector(text, body) for text in body["texts"]]
            return {"embeddings": dict.fromkeys(body["embedding_types"], vectors)}
        if steps.endswith("/text-embedding"):
            texts = list(enumerate(body["input"]["texts"]))
            found = [{"text_index": at, "embedding": vector(text, self.dim)} for at, text in reversed(texts)]
            return {"output": {"embeddings": found}}
        if steps == "/embed":
            return [vector(text, self.dim) for text in body["inputs"]]
        if steps == "/api/embed":
            return {"embeddings": [vector(text, self.dim) for text in body["input"]]}
        if steps.endswith("/invoke"):
            if "texts" in body:
                return {"embeddings": [vector(text, self.dim) for text in body["texts"]]}
            return {"embedding": vector(body["inputText"], self.dim)}
        if steps.endswith(":predict"):
            found = [{"embeddings": {"values": vector(one["content"], self.dim)}} for one in body["instances"]]
            return {"predictions": found}
        if steps.endswith(":batchEmbedContents"):
            texts = [one["content"]["parts"][0]["text"] for one in body["requests"]]
            return {"embeddings": [{"values": vector(text, self.dim)} for text in texts]}
        if steps.endswith("/pipeline/feature-extraction"):
            return [vector(text, self.dim) for text in body["inputs"]]
        if steps == "/token":
            return {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        return {"error": f"no such path: {path}"}

    def _vector(self, text: str, body: Any) -> list[float] | list[int]:
        found = vector(text, self.dim)
        return [int(n) for n in found] if "int8" in json.dumps(body.get("embedding_types", "")) else found

    def _numbered(self, body: Any) -> Any:
        found: list[Any] = []
        for at, text in enumerate(body["input"]):
            numbers: Any = vector(text, self.dim)
            if body.get("encoding_format") == "base64":
                numbers = base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()
            if body.get("output_dtype") == "int8":
                numbers = [int(n) for n in numbers]
            found.append({"index": at, "embedding": numbers, "object": "embedding"})
        return {"object": "list", "data": found[::-1]}
