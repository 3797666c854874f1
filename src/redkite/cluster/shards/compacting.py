"""Compaction on request: planned by the coordinator, which knows the jobs, carried out by the owners of the shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import msgspec

from redkite.cluster.network import Handler, Message, Unanswered
from redkite.cluster.shards.calling import Caller
from redkite.config import Settings
from redkite.coordinator.compaction import CompactionPlan, CompactionPolicy
from redkite.coordinator.jobs import why
from redkite.env import Executor
from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.node.compactor import Compactor
from redkite.spans import job

log = get_logger(__name__)

COMPACT_SECONDS: Final = 6 * 3600.0
"""No plan takes longer."""
_REVISION_SECONDS: Final = 10.0


class CompactShard(Message, frozen=True, kw_only=True):
    """-> Compacted"""

    idempotent: ClassVar[bool] = True
    """The second time its sources are gone."""

    channel: str
    plan: CompactionPlan


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    made: tuple[int, ...]
    """The new segments; none when the sources were gone: somebody has compacted or dropped them."""
    revision: int


class DistantCompactor(Compactor):
    """Of a coordinator: its plans are carried out where the shards are."""

    _caller: Caller
    _askers: Executor

    def ask_by(self, caller: Caller, askers: Executor) -> None:
        """How owners are asked; `askers` wait for them."""
        self._caller, self._askers = caller, askers

    @contextmanager
    def quiet(self, collection_id: int) -> Iterator[None]:  # noqa: ARG002  owners compact by themselves
        """What owners begin by themselves meanwhile need not be done on request."""
        yield

    def _run(self, plan: CompactionPlan) -> None:
        """On the compactor's one thread: the plans of a job are asked for side by side."""
        self._askers.submit(self._ask, plan)

    @job("compaction")
    def _ask(self, plan: CompactionPlan) -> None:
        try:
            done: Compacted = self._caller.ask(
                plan.channel, CompactShard(channel=plan.channel, plan=plan), COMPACT_SECONDS
            )
            self._caller.catalog.wait_for(done.revision, _REVISION_SECONDS)
        except Unanswered as error:
            self.jobs.fail(plan, f"it is not known whether it was done: {error.message}")
        except MilvusException as error:
            self.jobs.fail(plan, why(error))
        except Exception as error:  # whoever waits for the job has to be told
            log.exception("nobody could be asked to compact segments %s", plan.sources)
            self.jobs.fail(plan, why(error))
        else:
            self.jobs.complete(plan, done.made)
        self._go_on(plan.collection_id)


def no_shard(_channel: str) -> None:
    """Of a node whose shards are all elsewhere."""


def compaction_policy(settings: Settings) -> CompactionPolicy:
    """Of the coordinator: what is compacted by itself, the owners see to."""
    return CompactionPolicy(
        rows=settings.seal_rows, bytes=settings.seal_bytes, enabled=settings.compaction != "off", automatic=False
    )


def compacting_handlers(
    need: Callable[[str], Any], compactor: Compactor, revision: Callable[[], int], tasks: Executor
) -> Mapping[type, Handler]:
    """Of an owner. `need` opens the shard of a channel, and raises NotOwner; `tasks` wait for plans."""

    def compact(message: CompactShard) -> Compacted:
        need(message.channel)
        made = compactor.carry_out(message.plan).result()
        return Compacted(made=tuple(made or ()), revision=revision())

    def handle(message: CompactShard) -> Future[Any]:
        return tasks.submit(compact, message)

    return {CompactShard: handle}
