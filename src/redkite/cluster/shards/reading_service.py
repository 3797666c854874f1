"""Reads that other nodes ask of the shards that this one owns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np

from redkite.cluster.network import Handler
from redkite.cluster.shards.handling import owned
from redkite.cluster.shards.reading import CountShard, CountWords, QueryShard, SearchShard, ShardCounts, ShardRead
from redkite.coordinator.node_oracle import NodeOracle
from redkite.errors import CollectionNotLoaded, NotOwner, PartitionNotLoaded
from redkite.model.reach import reach_of_all
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.query.grouping import merge_groups
from redkite.query.ordering import merge_ordered
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan, TextCounts
from redkite.query.reduce import merge_hits, merge_rows
from redkite.query.straight import is_plain

T = TypeVar("T")
P = TypeVar("P", SearchPartial, QueryPartial)
_NO_PARTITIONS: frozenset[int] = frozenset()


class OwnerNode(Protocol):
    """A node that owns channels."""

    topology: Topology
    """Of what it knows."""

    def own_shard(self, channel: str, *, by_log: bool = False) -> Shard:
        """The shard, open and as new as its collection. Raises NotOwner where this node does not own the channel, or
        its lease is over; `by_log`: or it knows of another owner."""
        ...

    def prove(self, channel: str) -> None:
        """Come back when it is certain that nobody else had answered for a channel by the time of the call. Raises
        NotOwner."""
        ...

    def former_shard(self, channel: str, lapse: float) -> Shard | None:
        """The shard as it was when this node's lease ended, if that is not longer ago than so many seconds and nobody
        else is known to own it: whatever others have acknowledged since, they were not the owner before."""
        ...


class ReadingService:
    """The handlers of one node."""

    def __init__(self, node: OwnerNode) -> None:
        self._node = node
        self._loads = node.topology.loads
        oracle = node.topology.root.oracle
        assert isinstance(oracle, NodeOracle), "nodes of a cluster observe each other's timestamps"
        self._oracle = oracle

    def handlers(self) -> Mapping[type, Handler]:
        return {
            SearchShard: self._lapsing(self.search),
            QueryShard: self._lapsing(self.query),
            CountWords: self._lapsing(self.count_words),
            CountShard: self._owned(self.counts),
        }

    def _owned(self, read: Callable[[Any], T]) -> Callable[[Any], T]:
        """Reads of which nothing is said when the channel was let go of meanwhile, or the process stood still until its
        lease was over and another owner there: he may have answered writes that were not seen here."""

        def looked_again(message: ShardRead | CountShard) -> T:
            before = self._node.own_shard(message.channel, by_log=True)
            found = read(message)
            self._node.prove(message.channel)
            if self._node.own_shard(message.channel, by_log=True) is not before:
                raise NotOwner.of(message.channel)
            return found

        return owned(looked_again)  # the shard may have to be opened, and its log be closed meanwhile

    def _lapsing(self, read: Callable[[Any, Shard, int | None], T]) -> Callable[[Any], T]:
        """Reads of the owner; or, where they allow that, of who was the owner and does not know of another one: then
        the log is not asked either."""

        def now(message: SearchShard | QueryShard | CountWords) -> T:
            shard = self._loaded(message.channel, message.plan)
            return read(message, shard, self._moment(shard, message))

        reading = self._owned(now)

        def answer(message: ShardRead) -> T:
            shard = self._former(message)
            if shard is None:
                try:
                    return reading(message)
                except NotOwner:
                    shard = self._former(message)
                    if shard is None:
                        raise
            # At the newest write that is here: of later moments only the owner knows.
            return read(message, shard, message.timestamp)

        return answer

    def _former(self, message: ShardRead) -> Shard | None:
        """The shard as this node had it when its lease ended, where that is enough."""
        shard = None if message.lapse is None else self._node.former_shard(message.channel, message.lapse)
        return None if shard is None or (message.timestamp or 0) > shard.view.timestamp else shard

    def search(self, message: SearchShard, shard: Shard, moment: int | None) -> tuple[int, list[SearchPartial]]:
        plan = message.plan
        if moment is not None and plan.scoring is None and is_plain(plan):
            way = shard.view.straight(plan, self._node.topology.loads.entry(plan.collection_id))
            found = None if way is None else way.search(message.queries, moment)
            if found is not None:
                return moment, [found]
        timestamp, partials = shard.search(plan, message.queries, moment)
        return timestamp, reduced_hits(partials, plan)

    def query(self, message: QueryShard, shard: Shard, moment: int | None) -> tuple[int, list[QueryPartial]]:
        timestamp, partials = shard.query(message.plan, moment)
        return timestamp, reduced_rows(partials, message.plan)

    def count_words(self, message: CountWords, shard: Shard, moment: int | None) -> tuple[int, list[TextCounts]]:
        timestamp, counts = shard.count_words(message.plan, message.dims, moment)
        return timestamp, reduced_counts(counts)

    def counts(self, message: CountShard) -> ShardCounts:
        shard = self._node.own_shard(message.channel, by_log=True)
        under_way = shard.under_way  # first: what ends meanwhile is in the view
        view = shard.view
        return ShardCounts(
            under_way=under_way,
            rows=0 if message.partitions == _NO_PARTITIONS else shard.rows(message.partitions),
            slots=shard.row_slots,
            unindexed=shard.unindexed_rows(),
            growing=shard.growing_rows,
            newest=view.timestamp,
            readable_from=view.readable_from,
        )

    def _loaded(self, channel: str, plan: SearchPlan | QueryPlan) -> Shard:
        """The shard, if what the plan reads is loaded as this node knows it: whoever made the plan may be behind."""
        shard = self._node.own_shard(channel, by_log=True)
        meta = shard.collection
        entry = self._loads.entry(meta.collection_id)
        if entry is None:
            raise CollectionNotLoaded.named(meta.name)
        for partition_id in plan.partitions or ():
            if not entry.covers(partition_id):
                known = meta.partition_by_id(partition_id)
                raise PartitionNotLoaded.named(partition_id if known is None else known.name)
        return shard

    def _moment(self, shard: Shard, message: ShardRead) -> int | None:
        """The timestamp to read at; None: as far as writes are applied by now."""
        wanted = message.timestamp
        if wanted is None:
            # Taken before it is looked: what is logged after that has a larger one.
            now = self._oracle.now()
            return now if shard.is_settled else None
        self._oracle.observe(wanted)
        if shard.view.timestamp < wanted:
            shard.settle(wanted)
        return wanted


# -- one answer of several nodes ------------------------------------------------------------------
def reduced_hits(partials: Sequence[SearchPartial], plan: SearchPlan) -> list[SearchPartial]:
    """What the nodes of one shard found, as one answer; none when none was asked. Groups of several hits that need not
    be full go as they are: the more nodes tell of theirs, the fuller they are."""
    grouping = plan.grouping
    if len(partials) < 2 or (grouping is not None and grouping.size > 1 and not grouping.strict):
        return [*partials]
    merged = (merge_hits if grouping is None else merge_groups)(partials, plan)
    return [_also_told(merged, partials)]


def reduced_rows(partials: Sequence[QueryPartial], plan: QueryPlan) -> list[QueryPartial]:
    """The same of a query. Numbers about groups are added up by whoever asked, from all shards at once."""
    if len(partials) < 2 or plan.aggregates is not None:
        return [*partials]
    merged = (merge_ordered if plan.order else merge_rows)(partials, plan)
    return [_also_told(merged, partials)]


def _also_told(merged: P, partials: Sequence[P]) -> P:
    """With what they tell beside what they found."""
    reports = tuple(told for part in partials for told in part.reports)
    return msgspec.structs.replace(merged, reports=reports, reach=reach_of_all(part.reach for part in partials))


def reduced_counts(counts: Sequence[TextCounts]) -> list[TextCounts]:
    """The sums."""
    if len(counts) < 2:
        return [*counts]
    having = np.sum([count.having for count in counts], axis=0)
    reach = reach_of_all(count.reach for count in counts)
    return [TextCounts(sum(c.rows for c in counts), sum(c.tokens for c in counts), having, reach)]
