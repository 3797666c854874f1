"""Objects in S3 and what speaks its protocol, in Google Cloud Storage and in Azure, through obstore."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from redkite.env import Buffer, Executor, Names
from redkite.errors import Conflict, Corruption, InvalidParameter, MilvusException, ObjectNotFound, StorageError
from redkite.storage.checksums import crc32, crc32_of
from redkite.storage.objects import FilePart, ObjectInfo, check_object_name, check_object_prefix

if TYPE_CHECKING:
    from obstore import ReadableFile
    from obstore.store import ObjectStore as Obstore

SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")
_SETTINGS = ("endpoint", "region")
_CHUNK_BYTES = 8 << 20
_PAGE_BYTES = 1 << 20
_RETRIES: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}


def open_remote(url: str) -> RemoteObjects:
    """The store at `s3://bucket/prefix`, `gs://…` or `az://…`; `?endpoint=http://host:9000` and `&region=…` say where
    another S3 is. Credentials come from the environment, as the provider's own tools read them."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise InvalidParameter(f"'{url}' is no place for objects: known are {', '.join(f'{s}://' for s in SCHEMES)}")
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(settings.keys() - set(_SETTINGS))
    if unknown:
        raise InvalidParameter(f"'{url}': unknown setting {unknown[0]}, known are {', '.join(_SETTINGS)}")
    try:
        from obstore.store import from_url
    except ModuleNotFoundError as error:
        raise StorageError(f"'{url}' needs obstore, which is not installed: pip install 'redkite[s3]'") from error
    plain = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    client: Any = {"allow_http": settings.get("endpoint", "").startswith("http://")}
    config: Any = settings
    with _errors(url):
        return RemoteObjects(from_url(plain, config=config, client_options=client, retry_config=_RETRIES), plain)


class RemoteObjects:
    """An `ObjectStore` whose objects are somewhere else. `place` is what errors call it.

    An object is seen whole or not at all. Conditional puts are atomic among everybody who uses the place.
    """

    def __init__(self, store: Obstore, place: str) -> None:
        self._store = store
        self._place = place

    def put(self, name: str, buffers: Sequence[Buffer]) -> ObjectInfo:
        return self._put(name, buffers, "overwrite")

    def put_if(self, name: str, buffers: Sequence[Buffer], etag: str | None) -> ObjectInfo:
        return self._put(name, buffers, "create" if etag is None else {"e_tag": etag})

    def _put(self, name: str, buffers: Sequence[Buffer], mode: Any) -> ObjectInfo:
        import obstore

        check_object_name(name)
        size, crc = crc32_of(buffers)
        whole = size <= _CHUNK_BYTES
        content: Any = b"".join(buffers) if whole else _chunks(buffers)
        with _errors(f"{self._place}/{name}"):
            done = obstore.put(self._store, name, content, mode=mode, use_multipart=not whole)
        return ObjectInfo(size, crc, done["e_tag"] or "")

    def put_file(self, name: str, content: BinaryIO) -> None:
        """Store what a file holds, read in pieces."""
        import obstore

        check_object_name(name)
        with _errors(f"{self._place}/{name}"):
            obstore.put(self._store, name, content, use_multipart=True)

    def copy(self, name: str, target: str, *, share: bool = True) -> None:  # noqa: ARG002  a copy is the store's own affair
        import obstore

        check_object_name(name)
        check_object_name(target)
        with _errors(f"{self._place}/{name}"):
            obstore.copy(self._store, name, target)

    def info(self, name: str) -> ObjectInfo:
        size, crc, etag = self._read(name)
        return ObjectInfo(size, crc, etag)

    def _read(self, name: str) -> tuple[int, int, str]:
        """Size, checksum and etag of what is there now, read in pieces."""
        import obstore

        check_object_name(name)
        size = crc = 0
        with _errors(f"{self._place}/{name}"):
            found = obstore.get(self._store, name)
            for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                view = memoryview(chunk)
                size += view.nbytes
                crc = crc32(view, crc)
            return size, crc, found.meta["e_tag"] or ""

    def verify(self, name: str, size: int, crc32: int) -> None:
        try:
            found = self._read(name)
        except ObjectNotFound as error:
            raise Corruption(f"object '{self._place}/{name}' is missing") from error
        if found[:2] != (size, crc32):
            what = f"has {found[0]} bytes instead of {size}" if found[0] != size else "does not match its checksum"
            raise Corruption(f"object '{self._place}/{name}' {what}")

    def verify_parts(self, name: str, size: int, parts: Sequence[FilePart]) -> None:
        try:
            whole = self.map(name)
        except ObjectNotFound as error:
            raise Corruption(f"object '{self._place}/{name}' is missing") from error
        if whole.nbytes != size:
            raise Corruption(f"object '{self._place}/{name}' has {whole.nbytes} bytes instead of {size}")
        if any(crc32(whole[part.at : part.at + part.length]) != part.crc32 for part in parts):
            raise Corruption(f"object '{self._place}/{name}' does not match its checksum")

    def vouch(self, name: str, size: int, crc32: int) -> None:
        """Objects here are read whenever they are asked for."""

    @property
    def background(self) -> Executor | None:
        return None

    def get(self, name: str) -> bytes:
        return bytes(self.map(name))

    def map(self, name: str) -> memoryview:
        """The whole object, in memory."""
        import obstore

        check_object_name(name)
        with _errors(f"{self._place}/{name}"):
            return memoryview(obstore.get(self._store, name).bytes())

    def reader(self, name: str) -> BinaryIO:
        """The object as a file that can be read from any place, a megabyte at a time."""
        import obstore

        check_object_name(name)
        with _errors(f"{self._place}/{name}"):
            opened = obstore.open_reader(self._store, name, buffer_size=_PAGE_BYTES)
        return io.BufferedReader(_RemoteFile(opened, f"{self._place}/{name}"), _PAGE_BYTES)

    def local_path(self, name: str) -> str | None:
        check_object_name(name)
        return None

    def size(self, name: str) -> int:
        import obstore

        check_object_name(name)
        with _errors(f"{self._place}/{name}"):
            return obstore.head(self._store, name)["size"]

    def exists(self, name: str) -> bool:
        try:
            self.size(name)
        except ObjectNotFound:
            return False
        return True

    def list(self, prefix: str = "") -> Names:
        import obstore

        check_object_prefix(prefix)
        folder = prefix.rpartition("/")[0]
        with _errors(self._place):
            found = [meta["path"] for page in obstore.list(self._store, folder or None) for meta in page]
        return sorted(name for name in found if name.startswith(prefix))

    def delete(self, name: str) -> None:
        check_object_name(name)
        self._delete([name])

    def delete_prefix(self, prefix: str) -> None:
        names = self.list(prefix)
        if names:
            self._delete(names)

    def _delete(self, names: Names) -> None:
        import obstore

        for name in names:
            try:
                with _errors(f"{self._place}/{name}"):
                    obstore.delete(self._store, name)
            except ObjectNotFound:
                continue  # missing is not an error


class _RemoteFile(io.RawIOBase):
    """An object that is read piece by piece."""

    def __init__(self, opened: ReadableFile, name: str) -> None:
        super().__init__()
        self._opened = opened
        self._name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        with _errors(self._name):
            return self._opened.seek(offset, whence)

    def tell(self) -> int:
        return self._opened.tell()

    def readinto(self, buffer: Any, /) -> int:
        with _errors(self._name):
            data = memoryview(self._opened.read(len(buffer)))
        buffer[: data.nbytes] = data
        return data.nbytes


def _chunks(buffers: Sequence[Buffer]) -> Iterator[bytes]:
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        for start in range(0, len(view), _CHUNK_BYTES):
            yield bytes(view[start : start + _CHUNK_BYTES])


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """obstore's errors as ours."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError) as error:
        if isinstance(error, ObjectNotFound):
            raise
        raise ObjectNotFound(f"there is no object '{what}'") from error
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise Conflict(f"object '{what}' is not what it was expected to be") from error
    except (exceptions.BaseError, OSError) as error:  # the latter is what a reader raises
        if isinstance(error, MilvusException):
            raise
        raise StorageError(f"'{what}': {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """The sentence of the error; the rest is a dump of the request."""
    return str(error).strip().partition("\n")[0]
