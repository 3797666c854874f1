"""Imports while nodes fail: files that every node finds become rows, with a ledger of what each job has said.

Some go to the tables of the workload, each register of theirs a write like any other in the history. The others go to a
collection of their own, over two shards, where nobody else writes: all of a job's rows are seen at one moment, once,
or never.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from tests.proof.history import History
from tests.simulation.workload import DIM, HARMLESS, TABLES, Asks, Time, Wrong, keys_of, persist, schema

from redkite.errors import ImportFailed
from redkite.model import requests as rq
from redkite.model.imports import (
    AbortImport,
    CommitImport,
    DescribeImport,
    ImportFiles,
    ImportInfo,
    ImportState,
    ListImports,
)
from redkite.model.types import ConsistencyLevel

FOLDER: Final = "/imports"
HOME: Final = "imported"
"""The collection of their own."""
ENDING_SECONDS: Final = 60.0
"""When everything has been mended, each job ends within this time."""
_ROOM: Final = 1000
"""Keys of one job."""


class Hosts:
    """The files of one host, among them a folder that all hosts have."""

    def __init__(self, own: Any, shared: Any) -> None:
        self._own, self._shared = own, shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def _of(self, path: str) -> Any:
        return self._shared if path.startswith(f"{FOLDER}/") else self._own

    def exists(self, path: str) -> bool:
        return bool(self._of(path).exists(path))

    def size(self, path: str) -> int:
        return int(self._of(path).size(path))

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        return bytes(self._of(path).read(path, offset, length))


@dataclass
class Job:
    """One import, as far as somebody has said something of it."""

    number: int
    collection: str
    keys: list[int]
    job_id: int | None = None
    """None: nobody has said whether it is one."""
    waits: bool = False
    """For somebody to say what becomes of it."""
    decided: str = ""
    """What was said: commit or abort; …"""
    is_answered: bool = False
    """… and that it is done."""
    writes: list[int] = field(default_factory=list)
    """By their numbers in the history."""
    state: ImportState = ImportState.PENDING
    progress: int = 0
    is_seen: bool = False
    """Its rows, by a read."""


class Imports:
    """One fiber that begins imports, and one for each that follows it."""

    def __init__(
        self,
        world: Time,
        rng: random.Random,
        asks: Asks,
        history: History,
        next_version: Callable[[], int],
        put: Callable[[str, bytes], None],
        spawn: Callable[[Callable[[], None], str], object],
        pause: float = 0.7,
    ) -> None:
        """`put` makes a file."""
        self._world, self._rng, self._asks, self._pause = world, rng, asks, pause
        self._history, self._next_version, self._put, self._spawn = history, next_version, put, spawn
        self._numbers = itertools.count(1)
        self.jobs: list[Job] = []
        self.reasons: list[str] = []
        """Of those that have failed."""

    def prepare(self) -> None:
        persist(self._asks, self._world, rq.CreateCollection(schema=schema(HOME), shards=2))
        params = {"index_type": "FLAT", "metric_type": "L2"}
        persist(self._asks, self._world, rq.CreateIndex(collection=HOME, field="vector", params=params))
        persist(self._asks, self._world, rq.LoadCollection(collection=HOME))

    def run(self, until: float) -> None:
        while self._world.now < until:
            self._world.sleep(self._rng.expovariate(1 / self._pause))
            if self._rng.random() < 0.15:
                self._tidy(self._rng.choice((rq.Flush(collections=(HOME,)), rq.Compact(collection=HOME))))
            elif sum(not job.state.is_over for job in self.jobs) < 3:
                job = self._begin()
                self._spawn(lambda job=job: self._follow(job, until + ENDING_SECONDS), f"follows {job.number}")

    def _tidy(self, request: rq.Request) -> None:
        with suppress(*HARMLESS):
            self._asks(request)

    # -- one ------------------------------------------------------------------------------------
    def _begin(self) -> Job:
        number = next(self._numbers)
        if self._rng.random() < 0.5:
            table = self._rng.choice(TABLES)
            registers = self._rng.sample(range(table.registers), self._rng.choice((1, 2)))
            version = self._next_version()
            job = Job(number, table.name, [key for register in registers for key in keys_of(table, register)])
            job.writes = [
                self._history.begin(f"import {number}", "put", (table.name, register), version, at=self._world.now)
                for register in registers
            ]
        else:
            version, first = number, number * _ROOM
            job = Job(number, HOME, list(range(first, first + self._rng.randint(1, 30))))
            job.waits = self._rng.random() < 0.3
        self.jobs.append(job)
        names = self._files(job, version)
        options = {"auto_commit": "false"} if job.waits else {}
        with suppress(*HARMLESS):
            groups = tuple((name,) for name in names)
            job.job_id = self._asks(ImportFiles(collection=job.collection, groups=groups, options=options)).job_id
        return job

    def _files(self, job: Job, version: int) -> list[str]:
        """Its rows in one file, or in several."""
        rows = [
            json.dumps({"id": key, "vector": [key, version % 7, *[0] * (DIM - 2)], "version": version})
            for key in job.keys
        ]
        count = min(len(rows), self._rng.choice((1, 1, 2, 4)))
        names = [f"{job.number}-{at}.jsonl" for at in range(count)]
        for at, name in enumerate(names):
            some = rows[at * len(rows) // count : (at + 1) * len(rows) // count]
            self._put(f"{FOLDER}/{name}", "\n".join(some).encode())
        return names

    def _follow(self, job: Job, until: float) -> None:
        """Until it is over, or it was looked after for long enough."""
        while not job.state.is_over and self._world.now < until:
            self._world.sleep(self._rng.expovariate(1 / 0.15))
            with suppress(*HARMLESS):
                if job.collection == HOME and self._rng.random() < 0.5:
                    self._look(job)
                elif job.job_id is not None:
                    self._hear(job, self._asks(DescribeImport(job_id=job.job_id)))
                    if job.state is ImportState.UNCOMMITTED:
                        self._decide(job)

    def _hear(self, job: Job, info: ImportInfo) -> None:
        """What is said of it now, behind what was said before."""
        was, job.state = job.state, info.state
        if was.is_over and info.state is not was:
            raise Wrong(f"import {job.number} was {was.shown}, and is {info.state.shown}")
        if not info.state.is_over and info.progress < job.progress:
            raise Wrong(f"import {job.number} was at {job.progress} %, and is at {info.progress} %")
        job.progress = info.progress
        if info.state is ImportState.COMPLETED and not was.is_over:
            if info.rows != len(job.keys):
                raise Wrong(f"import {job.number} of {len(job.keys)} rows is complete with {info.rows}")
            for write in job.writes:
                self._history.end(write, at=self._world.now)
        if info.state is ImportState.FAILED and not was.is_over:
            self.reasons.append(info.reason)
            for write in job.writes:
                self._history.withdraw(write)

    def _decide(self, job: Job) -> None:
        if job.is_seen:
            raise Wrong(f"rows of import {job.number} were seen, and it is not committed")
        job.decided = job.decided or self._rng.choice(("commit", "commit", "abort"))
        self._look(job)
        try:
            number = job.job_id or 0
            self._asks(CommitImport(job_id=number) if job.decided == "commit" else AbortImport(job_id=number))
        except ImportFailed as error:
            if "in state" not in error.message:
                raise Wrong(f"{job.decided} of import {job.number} was answered with: {error.message}") from error
        else:
            job.is_answered = True
            self._look(job)

    # -- rows -----------------------------------------------------------------------------------
    def _look(self, job: Job, level: str = "") -> None:
        """All rows of a job are there, each once, or none is; at the other levels, those of a shard."""
        level = level or self._rng.choice(("Strong", "Strong", "Bounded", "Eventually"))
        is_done = job.state is ImportState.COMPLETED or (job.is_answered and job.decided == "commit") or job.is_seen
        is_none = job.state is ImportState.FAILED or (job.is_answered and job.decided == "abort")
        is_none = is_none or (job.waits and not job.decided)
        first = job.number * _ROOM
        request = rq.Query(
            collection=HOME, filter=f"id >= {first} and id < {first + _ROOM}", output_fields=("id", "version"),
            consistency_level=ConsistencyLevel[level],
        )  # fmt: skip
        rows = self._asks(request).rows
        found = sorted(rows.column("id").to_pylist()) if rows.num_rows else []
        if level == "Strong" and found not in ([], job.keys):
            raise Wrong(f"of import {job.number} ({level}) there are rows {found}, and it has {job.keys}")
        if len(set(found)) < len(found) or not set(found) <= set(job.keys):
            raise Wrong(f"of import {job.number} ({level}) there are rows {found}, and it has {job.keys}")
        if found and (is_none or set(rows.column("version").to_pylist()) != {job.number}):
            raise Wrong(f"rows of import {job.number} are there, which is {job.state.shown} {job.decided}")
        if not found and is_done and level == "Strong":
            raise Wrong(f"rows of import {job.number} are not there, which is {job.state.shown} {job.decided}")
        job.is_seen |= found == job.keys

    # -- the end --------------------------------------------------------------------------------
    def check(self) -> None:
        """Everything works again: each job has an end, and is what it says."""
        limit = self._world.now + ENDING_SECONDS
        while left := [job.job_id for job in self._listed() if not self._has_ended(job)]:
            if self._world.now > limit:
                raise Wrong(f"imports {left} have no end after {ENDING_SECONDS:g} s, though nothing fails")
            self._world.sleep(0.5)
        listed = {info.job_id: info for info in self._listed()}
        for job in self.jobs:
            if job.job_id is not None and job.job_id not in listed:
                raise Wrong(f"import {job.number} was begun as job {job.job_id}, of which nobody knows")
            if job.job_id is not None:
                self._hear(job, listed[job.job_id])
            if job.collection == HOME:
                self._surely(job)

    def _has_ended(self, info: ImportInfo) -> bool:
        return info.state.is_over or info.state is ImportState.UNCOMMITTED

    def _listed(self) -> tuple[ImportInfo, ...]:
        return tuple(persist(self._asks, self._world, ListImports()).jobs)

    def _surely(self, job: Job) -> None:
        for _ in range(100):
            try:
                self._look(job, "Strong")
            except HARMLESS:
                self._world.sleep(0.5)
            else:
                return
        raise Wrong(f"whether the rows of import {job.number} are there cannot be read")
