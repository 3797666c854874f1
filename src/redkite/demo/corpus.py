"""Which texts does every machine have? The documentation that comes with Python: about 10,000 of them.

Three sources: docstrings in the standard library's source files, which are parsed and never imported; docstrings of
its modules written in C, which have no source to parse; and the help topics of `help()`, cut into passages.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIN_CHARACTERS: Final = 20
"""Shorter docstrings ("See os.path.") say nothing to search for."""
MAX_CHARACTERS: Final = 8_000
PASSAGE_CHARACTERS: Final = 400

_SKIPPED_FOLDERS: Final = frozenset({
    "__pycache__", "idle_test", "lib-dynload", "site-packages", "test", "tests",
    "turtledemo", "dist-packages",
})  # fmt: skip

# Modules written in C, and the module whose documentation a reader would look in.
_C_MODULES: Final = {
    "builtins": "builtins", "itertools": "itertools", "math": "math", "cmath": "cmath", "sys": "sys", "time": "time",
    "array": "array", "binascii": "binascii", "select": "select", "mmap": "mmap", "unicodedata": "unicodedata",
    "zlib": "zlib", "marshal": "marshal", "gc": "gc", "atexit": "atexit", "faulthandler": "faulthandler",
    "fcntl": "fcntl", "grp": "grp", "pwd": "pwd", "resource": "resource", "syslog": "syslog", "termios": "termios",
    "posix": "os", "nt": "os", "pyexpat": "xml.parsers.expat", "readline": "readline", "_io": "io",
    "_collections": "collections", "_datetime": "datetime", "_decimal": "decimal", "_json": "json", "_csv": "csv",
    "_struct": "struct", "_sqlite3": "sqlite3", "_ssl": "ssl", "_socket": "socket", "_hashlib": "hashlib",
    "_blake2": "hashlib", "_pickle": "pickle", "_ctypes": "ctypes", "_thread": "threading", "_signal": "signal",
    "_functools": "functools", "_operator": "operator", "_heapq": "heapq", "_bisect": "bisect", "_random": "random",
    "_lzma": "lzma", "_bz2": "bz2", "_contextvars": "contextvars", "_elementtree": "xml.etree.ElementTree",
    "_codecs": "codecs", "_locale": "locale", "_queue": "queue", "_statistics": "statistics", "_weakref": "weakref",
    "_tracemalloc": "tracemalloc", "_zoneinfo": "zoneinfo", "_asyncio": "asyncio", "_sre": "re", "_curses": "curses",
    "_symtable": "symtable", "_string": "string", "_warnings": "warnings", "_lsprof": "cProfile", "_uuid": "uuid",
    "_posixsubprocess": "subprocess", "_multiprocessing": "multiprocessing", "_imp": "importlib", "_opcode": "dis",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Text:
    """One piece of documentation. `kind` is module, class, function, method or topic."""

    name: str
    module: str
    kind: str
    text: str


def read_corpus(progress: Callable[[int, int], None] | None = None) -> list[Text]:
    """Every text once, in a fixed order; `progress(done, files)` is called as the files are read."""
    sources = list(_source_files())
    unique: dict[str, Text] = {}
    for number, (module, path) in enumerate(sources, 1):
        for text in _from_source(module, path):
            unique.setdefault(text.text, text)
        if progress is not None:
            progress(number, len(sources))
    for text in (*_from_c_modules(), *_from_topics()):
        unique.setdefault(text.text, text)
    return list(unique.values())


# -- source files -------------------------------------------------------------------------------
def _source_files() -> Iterator[tuple[str, Path]]:
    """(module, file) of the standard library, the platform's own modules before their twins for other systems."""
    root = Path(sysconfig.get_path("stdlib"))
    found: list[tuple[bool, str, Path]] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS and not name.startswith("config-")]
        for name in files:
            if name.endswith(".py"):
                path = Path(folder, name)
                module = _module_name(path.relative_to(root))
                found.append((module in ("ntpath", "posixpath"), module, path))
    for _, module, path in sorted(found):
        yield module, path


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return "os.path" if name == os.path.__name__ else name


def _from_source(module: str, path: Path) -> Iterator[Text]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old string escapes in the library are not this reader's concern
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:
            return  # a template or a sample of another version of the language
    yield from _from_node(tree, module, module, "module")


def _from_node(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, module: str, name: str, kind: str
) -> Iterator[Text]:
    text = _clean(ast.get_docstring(node))
    if text:
        yield Text(name, module, kind, text)
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from _from_node(child, module, f"{name}.{child.name}", "class")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = "method" if isinstance(node, ast.ClassDef) else "function"
            yield from _from_node(child, module, f"{name}.{child.name}", inside)


def _clean(text: str | None) -> str:
    text = (text or "").strip()
    return text[:MAX_CHARACTERS] if len(text) >= MIN_CHARACTERS else ""


# -- modules written in C -----------------------------------------------------------------------
def _from_c_modules() -> Iterator[Text]:
    for c_module, module in _C_MODULES.items():
        try:
            loaded = importlib.import_module(c_module)
        except ImportError:
            continue  # not on this platform
        for name, value in sorted(vars(loaded).items()):
            if name.startswith("_") or inspect.ismodule(value):
                continue
            if isinstance(value, type):
                yield from _from_c_class(f"{module}.{name}", module, value)
            elif inspect.isbuiltin(value):
                yield from _from_object(f"{module}.{name}", module, "function", value)


def _from_c_class(name: str, module: str, value: type) -> Iterator[Text]:
    yield from _from_object(name, module, "class", value)
    for member, attribute in sorted(vars(value).items()):
        if not member.startswith("_") and (inspect.isroutine(attribute) or inspect.isdatadescriptor(attribute)):
            yield from _from_object(f"{name}.{member}", module, "method", attribute)


def _from_object(name: str, module: str, kind: str, value: object) -> Iterator[Text]:
    documentation = getattr(value, "__doc__", None)
    text = _clean(inspect.cleandoc(documentation)) if isinstance(documentation, str) else ""
    if text:
        yield Text(name, module, kind, text)


# -- help topics --------------------------------------------------------------------------------
def _from_topics() -> Iterator[Text]:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        return  # some distributions ship it apart
    for topic, text in sorted(topics.items()):
        for passage in _passages(text):
            yield Text(f"help({topic!r})", "pydoc_data.topics", "topic", passage)


def _passages(text: str) -> Iterator[str]:
    """Paragraphs, gathered until a passage is long enough to stand alone."""
    gathered: list[str] = []
    for paragraph in text.split("\n\n"):
        gathered.append(paragraph)
        if sum(map(len, gathered)) >= PASSAGE_CHARACTERS:
            yield from filter(None, [_clean("\n\n".join(gathered))])
            gathered = []
    yield from filter(None, [_clean("\n\n".join(gathered))])


def python_version() -> str:
    """The version whose documentation this is, as `3.11.7`."""
    return ".".join(map(str, sys.version_info[:3]))
