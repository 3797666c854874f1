"""Imports whose files are read by data nodes: how they reach the desk of whoever keeps the job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from redkite.cluster.network import Handler, Remote
from redkite.cluster.rows_given import asked_back
from redkite.cluster.work_messages import AskIds, AskPace, TellDesk
from redkite.config import Settings, import_places, model_settings
from redkite.env import Env
from redkite.errors import Unavailable
from redkite.functions.base import Services
from redkite.functions.models import Models
from redkite.functions.registry import Functions
from redkite.model.imports import ImportedFile, ImportState
from redkite.node.memory import MemoryBudget
from redkite.proxy.import_files import ImportFolder
from redkite.proxy.import_reading import ImportDesk, ImportReader
from redkite.storage.objects import ObjectStore


def reader_of(env: Env, store: ObjectStore, memory: MemoryBudget, settings: Settings) -> ImportReader:
    """What reads the files of imports on a node with these settings."""
    functions = Functions(Services(env, Models(env, model_settings(settings))))
    return ImportReader(env, store, memory, functions, ImportFolder(env, import_places(settings)))


# -- who keeps the job --------------------------------------------------------------------------
class Desks:
    """Those of one node, by the tries that may ask them. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[int, ImportDesk] = {}
        self._heard: dict[int, int] = {}
        """Of those, the number of the last that they were told."""

    def handlers(self) -> dict[type, Handler]:
        return {TellDesk: self._tell, AskPace: self._pace, AskIds: self._ids}

    @contextmanager
    def serving(self) -> Iterator[Callable[[int, ImportDesk], None]]:
        """Gives what opens a desk for a try; those before are closed by that, all of them in the end."""
        tries: list[int] = []

        def opened(work_id: int, desk: ImportDesk) -> None:
            with self._lock:
                for former in tries:
                    self._forget(former)
                tries.append(work_id)
                self._open[work_id] = desk

        try:
            yield opened
        finally:
            with self._lock:
                for work_id in tries:
                    self._forget(work_id)

    def _forget(self, work_id: int) -> None:
        self._open.pop(work_id, None)
        self._heard.pop(work_id, None)

    @contextmanager
    def _at(self, work_id: int) -> Iterator[ImportDesk]:
        """The desk of a try, which is not closed meanwhile: what is told when the job is over would begin it anew."""
        with self._lock:
            desk = self._open.get(work_id)
            if desk is None:
                raise Unavailable(f"nobody waits for piece of work {work_id} any more")
            yield desk

    def _tell(self, message: TellDesk) -> bool:
        with self._at(message.work_id) as desk:
            if message.number >= self._heard.get(message.work_id, 0):  # else it was sent again, and comes late
                desk.told(message.files, message.state, message.progress)
                self._heard[message.work_id] = message.number
        return True

    def _pace(self, message: AskPace) -> float:
        with self._at(message.work_id) as desk:
            return desk.pace(message.size)

    def _ids(self, message: AskIds) -> int:
        with self._at(message.work_id) as desk:
            return desk.segment_id() if message.is_segment else desk.ids(message.count)


# -- who reads ----------------------------------------------------------------------------------
class RemoteDesk:
    """The desk of a job that another node keeps."""

    def __init__(self, remote: Remote, work_id: int, wanted: Callable[[], bool]) -> None:
        self._remote, self._work_id, self._wanted = remote, work_id, wanted
        self._told = 0

    def go_on(self) -> None:
        if not self._wanted():
            raise Unavailable(f"piece of work {self._work_id} is not wanted any more")

    def told(self, files: tuple[ImportedFile, ...], state: ImportState, progress: int) -> None:
        self.go_on()
        self._told += 1
        asked_back(
            self._remote,
            TellDesk(work_id=self._work_id, number=self._told, files=files, state=state, progress=progress),
        )

    def pace(self, size: int) -> float:
        return float(self._remote.ask(AskPace(work_id=self._work_id, size=size)))

    def ids(self, count: int) -> int:
        return int(asked_back(self._remote, AskIds(work_id=self._work_id, count=count, is_segment=False)))

    def segment_id(self) -> int:
        return int(asked_back(self._remote, AskIds(work_id=self._work_id, count=1, is_segment=True)))
