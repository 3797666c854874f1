"""Backups in words, for a shell: made, listed, checked, restored and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from redkite.env import Env
from redkite.errors import BackupNotFound, StorageError
from redkite.info import CATALOG, in_units

if TYPE_CHECKING:
    from redkite.client.sync import MilvusClient
    from redkite.model.results import BackupInfo

_WIDTH: Final = 28
_SECONDS_BETWEEN_DRAWINGS: Final = 0.05


def run_create(
    source: str, place: str, name: str, collections: Sequence[str], databases: Sequence[str], out: TextIO, log: TextIO
) -> int:
    """`redkite backup create`: `source` is a folder or the address of a running server."""
    if not is_address(source):
        _check_database(source)
    clock = Env.real().clock
    started = clock.monotonic()
    with _client(source) as client, _Bar("Copying", log) as bar:
        made = client.create_backup(
            place, name or None, list(collections) or None, list(databases) or None, progress=bar.draw
        )
    seconds = clock.monotonic() - started
    out.write(f"{_line(made)}\n")
    kept = made.objects - made.copied_objects
    shared = f"; {kept:,} were there already" if kept else ""
    out.write(f"copied {made.copied_objects:,} objects, {in_units(made.copied_bytes)}, in {seconds:.1f} s{shared}\n")
    return 0


def run_list(place: str, uri: str, out: TextIO) -> int:
    """`redkite backup list`."""
    found = _backups(place, uri)
    for info in found:
        out.write(f"{_line(info)}\n")
        out.writelines(f"  {c.database}.{c.name}   {c.rows:,} rows, {in_units(c.bytes)}\n" for c in info.collections)
    if not found:
        out.write(f"no backups at {place}\n")
    return 0


def run_verify(place: str, uri: str, name: str, out: TextIO, log: TextIO) -> int:
    """`redkite backup verify`: Corruption names every damaged object."""
    chosen = name or _newest(place, uri)
    with _Bar("Reading", log) as bar:
        if uri:
            with _client(uri) as client:
                info = client.verify_backup(place, chosen, progress=bar.draw)
        else:
            from redkite.backup.work import verify

            made = verify(Env.real(), _local(place), chosen, bar)
            info = made.backup
    out.write(f"{_line(info)}\nEverything is as it was written.\n")
    return 0


def run_restore(
    place: str,
    target: str,
    name: str,
    collections: Sequence[str],
    renames: Mapping[str, str],
    suffix: str,
    into_database: str,
    out: TextIO,
    log: TextIO,
) -> int:
    """`redkite backup restore`: `target` is a folder, made when missing, or the address of a running server."""
    chosen = name or _newest(place, target if is_address(target) else "")
    with _client(target) as client, _Bar("Restoring", log) as bar:
        made = client.restore_backup(
            place,
            chosen,
            list(collections) or None,
            renames=dict(renames),
            suffix=suffix,
            into_database=into_database,
            progress=bar.draw,
        )
    out.writelines(f"{collection} is back, not loaded\n" for collection in made)
    return 0


def run_delete(place: str, uri: str, name: str, out: TextIO) -> int:
    """`redkite backup delete`."""
    if uri:
        with _client(uri) as client:
            client.delete_backup(place, name)
    else:
        from redkite.backup.work import delete

        delete(Env.real(), _local(place), name)
    out.write(f"{name} is deleted\n")
    return 0


def is_address(source: str) -> bool:
    return source.startswith(("http://", "https://", "tcp://"))


def _client(source: str) -> MilvusClient:
    from redkite.client.sync import MilvusClient

    return MilvusClient(source)


def _check_database(path: str) -> None:
    folder = Path(path)
    if not (folder / CATALOG).exists():
        raise StorageError(f"there is no database at {path}" if folder.exists() else f"{path} does not exist")


def _backups(place: str, uri: str) -> Sequence[BackupInfo]:
    if uri:
        with _client(uri) as client:
            return client.list_backups(place)
    from redkite.backup.work import whole

    return whole(Env.real(), _local(place))


def _local(place: str) -> str:
    from redkite.backup.place import resolve

    return resolve(place, None)


def _newest(place: str, uri: str) -> str:
    found = _backups(place, uri)
    if not found:
        raise BackupNotFound(f"there is no backup at {place}")
    return found[-1].name


def _line(info: BackupInfo) -> str:
    moment = datetime.fromtimestamp(info.created_ms / 1000, UTC)
    count = len(info.collections)
    rows = sum(c.rows for c in info.collections)
    return (
        f"{info.name}   {moment:%Y-%m-%d %H:%M:%S} UTC, {count:,} collection{'s' * (count != 1)}, {rows:,} rows, "
        f"{in_units(info.bytes)}"
    )


class _Bar:
    """One line that redraws itself on a terminal, and stays quiet anywhere else. Also the report of work done here."""

    def __init__(self, label: str, out: TextIO) -> None:
        self._label = label
        self._out = out
        self._live = out.isatty()
        self._clock = Env.real().clock
        self._drawn = 0.0
        self._done = self._total = 0

    def draw(self, done: int, total: int) -> None:
        now = self._clock.monotonic()
        if not self._live or not total or now - self._drawn < _SECONDS_BETWEEN_DRAWINGS:
            return
        self._drawn = now
        filled = min(_WIDTH, _WIDTH * done // total)
        bar = "━" * filled + "╌" * (_WIDTH - filled)
        self._out.write(f"\r{self._label} {bar} {in_units(done)} of {in_units(total)}\x1b[K")
        self._out.flush()

    def expect(self, total: int) -> None:
        self._total = total

    def advance(self, count: int) -> None:
        self._done += count
        self.draw(self._done, self._total)

    def check(self) -> None:
        """Ctrl-C is what stops work in a shell."""

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._out.write("\r\x1b[K")
            self._out.flush()
