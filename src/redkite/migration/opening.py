"""What is at an address or a path? The right source for it, its library loaded only now."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from redkite.errors import ParamError
from redkite.migration.plan import Source

KINDS: Final = ("milvus", "milvus-lite", "redkite", "chroma", "qdrant", "lancedb", "parquet")
_EXAMPLES: Final = (
    "http://host:19530, qdrant+http://host:6333, chroma+http://host:8000, or a folder or file of Redkite, milvus-lite, "
    "Chroma, Qdrant, LanceDB or Parquet"
)


def open_source(source: str, kind: str, *, token: str, database: str, python: str) -> Source:
    """A source by its address, or by its path. `kind` says what it is, where that cannot be told.

    Raises ParamError when nothing is there that can be read, or a library is missing.
    """
    prefix, plus, rest = source.partition("+")
    if plus and prefix in KINDS and "://" in rest:
        kind, source = kind or prefix, rest
    kind = kind or kind_of(source)
    if kind not in KINDS:
        raise ParamError(f"there is no kind of source called {kind}; there are {', '.join(KINDS)}")
    if kind in ("milvus", "redkite"):
        return _server(source, kind, token, database)
    if kind == "milvus-lite":
        from redkite.migration.lite import LiteSource

        return LiteSource(source, python)
    if kind == "qdrant":
        from redkite.migration.qdrant import QdrantSource

        library = _library("qdrant_client", "qdrant-client", kind)
        place: dict[str, Any] = {"url": source, "api_key": token or None} if "://" in source else {"path": source}
        return QdrantSource(library.QdrantClient(**place))
    if kind == "chroma":
        from redkite.migration.chroma import ChromaSource

        return ChromaSource(_chroma(_library("chromadb", "chromadb", kind), source, token, database))
    if kind == "lancedb":
        from redkite.migration.lancedb import LanceSource

        return LanceSource(_library("lancedb", "lancedb", kind).connect(source))
    from redkite.migration.parquet import ParquetSource

    return ParquetSource(source)


def _server(source: str, kind: str, token: str, database: str) -> Source:
    from redkite.client.sync import MilvusClient
    from redkite.migration.server import ServerSource

    if "://" in source or source.startswith("unix:"):
        return ServerSource(MilvusClient(source, token=token, db_name=database), kind)
    if not source.endswith(".db"):
        raise ParamError(
            f"{source} is the folder of a server: name the address of `redkite serve --data {source}`, or call it *.db"
        )
    return ServerSource(MilvusClient(source, db_name=database, read_only=True), "redkite", may_load=False)


def _chroma(library: Any, source: str, token: str, database: str) -> Any:
    if "://" not in source:
        settings = library.Settings(anonymized_telemetry=False)
        return library.PersistentClient(source, settings=settings, **({"database": database} if database else {}))
    from urllib.parse import urlsplit

    parts = urlsplit(source)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return library.HttpClient(
        host=parts.hostname or "localhost", port=parts.port or 8000, ssl=parts.scheme == "https", headers=headers,
        settings=library.Settings(anonymized_telemetry=False), **({"database": database} if database else {}),
    )  # fmt: skip


def _library(module: str, package: str, kind: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ParamError(f"reading {kind} needs the library {package}: pip install 'redkite[{kind}]'") from None


def kind_of(source: str) -> str:
    """What is at a path, by the files in it. Raises ParamError when it is nothing that we know."""
    if "://" in source or source.startswith("unix:"):
        return "milvus"
    path = Path(source)
    if not path.exists():
        raise ParamError(f"there is nothing at {source}; a source is {_EXAMPLES}")
    if path.is_file():
        if path.suffix == ".parquet":
            return "parquet"
        if path.suffix == ".db":
            return "milvus-lite"
        raise ParamError(f"{source} is no source; a source is {_EXAMPLES}")
    if (path / "catalog").exists():
        return "redkite"
    if (path / "chroma.sqlite3").exists():
        return "chroma"
    if (path / "meta.json").exists() and (path / "collection").is_dir():
        return "qdrant"
    if any(path.glob("*.lance")):
        return "lancedb"
    if any(path.glob("*.parquet")) or any(path.glob("*/*.parquet")):
        return "parquet"
    if path.suffix == ".db":
        return "milvus-lite"
    raise ParamError(f"nothing is known about the folder {source}; a source is {_EXAMPLES}")
