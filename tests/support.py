"""What of Milvus's protocol and SDK is there, as docs/support.md shows it: `make support` writes that page.

Who tests a call is read from the tests themselves: a test module counts for a method that it calls by name, for an
endpoint whose path it has, and for an RPC that it names, or whose request it makes, or one of whose methods it calls.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pymilvus
from pymilvus.grpc_gen import milvus_pb2
from pymilvus.orm import db, utility
from tests import protocol

import redkite
import redkite.orm
from redkite.server.rest.endpoints import BASE, ENDPOINTS
from redkite.wire.methods import METHODS, STREAMED

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "support.md"
OPERATIONS = ROOT / "src" / "redkite" / "client" / "operations"
SHOWN = 3
"""Test modules that a row names."""
_FIRST = ("acceptance", "congruence", "server", "orm", "client", "backup", "node", "cluster", "wire")
_APART = ("protocol.py", "support.py", "test_support.py", "test_signatures.py")
"""Files that name everything."""
_EVERY_CALL = "server/every_call"
_OLD_CLASSES = ("Collection", "Partition", "Index", "Role")

HEAD = """\
# What is supported

Written by `make support`, held by a test: each RPC, endpoint and method of Milvus 3.0 and pymilvus 3.0.2, whether it is
there, and which tests exercise it. *Tested by* names up to three modules below `tests/`, found by reading the tests:
those that call the method, have the path, or make the request. Tests in `acceptance` run three times: through pymilvus
and through Redkite's client against a server, and through Redkite's client on a file. Two more look at everything:
`server/test_every_call` calls every RPC by pymilvus's stubs, `client/test_signatures` compares every parameter of every
method with pymilvus's.
"""


# -- what the tests do --------------------------------------------------------------------------
class Seen:
    """The names that each test module calls or mentions, and its texts."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}
        self.texts: dict[str, set[str]] = {}
        for path in sorted((ROOT / "tests").rglob("*.py")):
            if path.name in _APART:
                continue
            module = str(path.relative_to(ROOT / "tests").with_suffix(""))
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute):
                    self.names.setdefault(node.attr, set()).add(module)
                elif isinstance(node, ast.Name):
                    self.names.setdefault(node.id, set()).add(module)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    self.texts.setdefault(node.value.strip("/"), set()).add(module)

    def of_names(self, names: Iterable[str]) -> set[str]:
        return set().union(*(self.names.get(name, set()) for name in names))

    def of_texts(self, texts: Iterable[str]) -> set[str]:
        return set().union(*(self.texts.get(text, set()) for text in texts))


def testing(modules: Iterable[str], *otherwise: str) -> tuple[str, ...]:
    """Those that are tests, as they are shown: the ones that test most ways first."""
    tests = sorted(m for m in modules if m.rpartition("/")[2].startswith("test_"))
    tests.sort(key=lambda m: _FIRST.index(m.split("/")[0]) if m.split("/")[0] in _FIRST else len(_FIRST))
    return tuple(m.replace("test_", "", 1) for m in tests) or otherwise


# -- which methods send which requests ----------------------------------------------------------
@functools.cache
def senders() -> dict[str, set[str]]:
    """Class of a request -> the operations that send it, directly or by calling others."""
    made: dict[str, set[str]] = {}
    calls: dict[str, set[str]] = {}
    kinds = {kind.__name__ for _, _, kind in METHODS.values()}
    for path in OPERATIONS.glob("*.py"):
        for function in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)):
            for node in ast.walk(function):
                name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
                if name in kinds:
                    made.setdefault(function.name, set()).add(name)
                elif name:
                    calls.setdefault(function.name, set()).add(name)
    found: dict[str, set[str]] = {}
    for operation in {*made, *calls}:
        for kind in _reached(operation, made, calls):
            found.setdefault(kind, set()).add(operation)
    return found


def _reached(operation: str, made: dict[str, set[str]], calls: dict[str, set[str]]) -> set[str]:
    reached, waiting, kinds = set(), [operation], set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            kinds |= made.get(name, set())
            waiting += [other for other in calls.get(name, ()) if other in made or other in calls]
    return kinds


# -- tables -------------------------------------------------------------------------------------
class Row(NamedTuple):
    name: str
    state: str
    tests: tuple[str, ...]
    """All modules that exercise it."""

    def text(self) -> str:
        """As the page has it: a few of the tests."""
        tests = ", ".join(f"`{module}`" for module in self.tests[:SHOWN]) or "—"
        return f"| `{self.name}` | {self.state.replace('|', chr(92) + '|')} | {tests} |"


def rpcs(seen: Seen) -> Iterator[Row]:
    for service in ("MilvusService", "ClientTelemetryService"):
        for method in milvus_pb2.DESCRIPTOR.services_by_name[service].methods:
            yield Row(method.name, _state(method.name), _tests_of(method.name, seen))


def _state(name: str) -> str:
    if name in protocol.UNSERVED:
        assert name not in METHODS, f"{name} is served"
        return f"UNIMPLEMENTED: {protocol.UNSERVED[name]}"
    assert name in METHODS or name == STREAMED, f"{name} is neither served nor said to be unserved"
    if name in protocol.REFUSED:
        return f"refused: {protocol.REFUSED[name]}"
    return f"in part: {protocol.PARTLY[name]}" if name in protocol.PARTLY else "yes"


def _tests_of(name: str, seen: Seen) -> tuple[str, ...]:
    if name in protocol.UNSERVED:
        return (_EVERY_CALL,)
    kinds = {kind.__name__ for rpc, (_, _, kind) in METHODS.items() if rpc == name}
    public = {n for n in dir(redkite.MilvusClient) if not n.startswith("_")}
    operations = set().union(*(senders().get(kind, set()) for kind in kinds)) & public
    return testing(seen.of_names({name, *kinds, *operations}) | seen.of_texts([name]), _EVERY_CALL)


def endpoints(seen: Seen) -> Iterator[Row]:
    for path in protocol.ENDPOINTS:
        assert BASE + path in ENDPOINTS, f"{path} is not served"
        why = protocol.REFUSED_ENDPOINTS.get(path)
        yield Row(path, f"refused: {why}" if why else "yes", _tests_of_path(path, seen))
    for path in sorted(set(ENDPOINTS) - {BASE + path for path in protocol.ENDPOINTS}):
        yield Row(path.removeprefix(BASE), "Redkite's own", _tests_of_path(path.removeprefix(BASE), seen))


def _tests_of_path(path: str, seen: Seen) -> tuple[str, ...]:
    return testing(seen.of_texts([path, f"{BASE}{path}".strip("/")]))


def methods(seen: Seen) -> Iterator[Row]:
    theirs = _public(pymilvus.MilvusClient) | _public(pymilvus.AsyncMilvusClient)
    ours = _public(redkite.MilvusClient)
    assert theirs <= ours, f"missing: {theirs - ours}"
    for name in sorted(ours):
        why, part = protocol.REFUSED_METHODS.get(name), protocol.PARTLY.get(name)
        own = "yes" if name in theirs else "Redkite's own"
        state = f"refused: {why}" if why else f"in part: {part}" if part else own
        yield Row(name, state, testing(seen.of_names([name]), *([_EVERY_CALL] if why else [])))


def _public(kind: Any) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))}


def older(seen: Seen) -> Iterator[Row]:
    for name in _OLD_CLASSES:
        for member in sorted(n for n in dir(getattr(pymilvus, name)) if not n.startswith("_")):
            there = hasattr(getattr(redkite, name), member)
            yield Row(f"{name}.{member}", "yes" if there else "no", _old_tests(member, seen))
    for module, here in ((utility, redkite.orm.utility), (db, redkite.orm.db)):
        title = module.__name__.rpartition(".")[2]
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                yield Row(f"{title}.{name}", "yes" if hasattr(here, name) else "no", _old_tests(name, seen))


def _old_tests(name: str, seen: Seen) -> tuple[str, ...]:
    """Only modules that use the older classes: the clients have methods of the same names."""
    return testing(m for m in seen.of_names([name]) if m.split("/")[0] == "orm" or m in seen.names["connections"])


TABLES = {
    "gRPC": ("RPC", rpcs),
    "REST, below `/v2/vectordb/`": ("Endpoint", endpoints),
    "MilvusClient and AsyncMilvusClient": ("Method", methods),
    "The older classes": ("Name", older),
}


def tables() -> dict[str, list[Row]]:
    """By the titles of the page."""
    seen = Seen()
    return {title: list(rows(seen)) for title, (_, rows) in TABLES.items()}


def page() -> str:
    parts = [HEAD]
    for title, rows in tables().items():
        head = f"| {TABLES[title][0]} | | Tested by |\n|---|---|---|\n"
        parts.append(f"## {title}\n\n{head}" + "\n".join(row.text() for row in rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
