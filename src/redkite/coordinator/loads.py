"""Who decides what is loaded, in how many copies, and which query node holds which sealed segment."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock

import msgspec

from redkite.coordinator.placing import Nodes, divided
from redkite.coordinator.resource_groups import ResourceGroups
from redkite.errors import Corruption, InvalidParameter, NodesNotEnough
from redkite.model.decoding import from_json
from redkite.model.placement import NodeInfo
from redkite.model.schema import DEFAULT_RESOURCE_GROUP
from redkite.model.segments import LoadEntry, ReplicaRecord
from redkite.storage.catalog import Catalog

ALIKE_MEMORY: Mapping[int, int] = {}


def _sizes(nodes: Collection[int], memory: Mapping[int, int]) -> Mapping[int, float]:
    known = [memory.get(node, 0) for node in nodes]
    if not known or not all(known):
        return {}
    return {node: memory[node] * len(known) / sum(known) for node in nodes}


class Progress:
    """How far a collection that is being loaded is."""

    __slots__ = ("done", "total")

    def __init__(self, total: int) -> None:
        self.done = 0
        self.total = total

    @property
    def percent(self) -> int:
        """Below 100 until it is over."""
        return min(99, 100 * self.done // self.total) if self.total else 0


class QueryCoordinator:
    """Load states, and the groups that replicas live in, survive restarts. Placement does not: segments are placed anew
    when a shard opens."""

    def __init__(self, catalog: Catalog, nodes: Sequence[int], allocate_id: Callable[[], int] | None = None) -> None:
        """`allocate_id` gives ids to replicas; without it they are only unique here."""
        self._catalog = catalog
        self._lock = RLock()
        """Taken again by whoever holds it, where one thread does everything and so hears of changes as it commits."""
        self._cost_on = dict.fromkeys(nodes, 0)
        """What was placed from here."""
        self.sizes: Mapping[int, float] = {}
        """How much larger each node is than the mean of them; replaced as a whole."""
        self._elsewhere: dict[int, int] = {}
        """What others have placed, as far as nodes have said."""
        self._loaded: dict[int, LoadEntry] = {}
        self._loading: dict[int, Progress] = {}
        self._arriving: list[tuple[int, frozenset[int]]] = []
        """Collections and partitions of them; replaced as a whole."""
        self._allocate_id = allocate_id or itertools.count(1).__next__
        host = platform.node()
        self.groups = ResourceGroups(catalog, (NodeInfo(node_id=n, address=host, hostname=host) for n in nodes))
        self._read()

    def reload(self) -> None:
        """Read everything from the catalog."""
        self.groups.reload()
        self._read()

    def absorb(self, changes: Iterable[str]) -> None:
        """Take over what others have committed: the keys that changed."""
        keys = list(changes)
        with self.groups.lock, self._lock:
            if any(not key.startswith("load/") for key in keys):
                self.groups.reload()
            loaded = dict(self._loaded)
            for key in keys:
                if key.startswith("load/"):
                    value = self._catalog.get(key)
                    if value is None:
                        loaded.pop(int(key.removeprefix("load/")), None)
                    else:
                        entry = _entry(value)
                        loaded[entry.collection_id] = entry
            self._loaded = loaded

    def _read(self) -> None:
        found = [_entry(value) for _, value in self._catalog.scan("load/")]
        self._loaded = {entry.collection_id: entry for entry in found}

    # -- what is loaded -------------------------------------------------------------------------
    def entry(self, collection_id: int) -> LoadEntry | None:
        return self._loaded.get(collection_id)

    def entries(self) -> tuple[LoadEntry, ...]:
        return tuple(self._loaded.values())

    def loaded_partitions(self, collection_id: int, existing: Iterable[int]) -> frozenset[int]:
        entry = self.entry(collection_id)
        return frozenset(p for p in existing if entry is not None and entry.covers(p))

    def load(
        self,
        collection_id: int,
        partitions: Iterable[int] | None,
        groups: Sequence[str] = (),
        fields: tuple[int, ...] | None = None,
    ) -> LoadEntry:
        """Load all partitions (None) or some more of them, in one replica in each of these groups (none: where it is,
        else in the default group), and these fields of it (None: all)."""
        with self.groups.lock, self._lock:
            for group in groups:
                self.groups.need(group)  # nobody drops it now
            old = self.entry(collection_id)
            if partitions is None or (old is not None and old.partitions is None):
                wanted = None
            else:
                wanted = tuple(sorted({*(old.partitions or () if old else ()), *partitions}))
            placed = self._with_nodes(self._placed(old, groups))
            return self._save(
                LoadEntry(
                    collection_id=collection_id, partitions=wanted, replicas=len(placed), placed=placed, fields=fields
                )
            )

    def _placed(self, old: LoadEntry | None, groups: Sequence[str]) -> tuple[ReplicaRecord, ...]:
        """The replicas to be: those that are in the right group stay what they are."""
        if old is not None and not groups:
            return old.copies
        there = list(old.copies) if old is not None else []
        placed = []
        for group in groups or (DEFAULT_RESOURCE_GROUP,):
            found = next((r for r in there if r.group == group), there[0] if there else None)
            if found is not None:
                there.remove(found)
            replica_id = self._allocate_id() if found is None else found.replica_id
            kept = found.nodes if found is not None and found.group == group else ()
            placed.append(ReplicaRecord(replica_id=replica_id, group=group, nodes=kept))
        return tuple(placed)

    def _with_nodes(self, placed: tuple[ReplicaRecord, ...]) -> tuple[ReplicaRecord, ...]:
        """The same with the nodes of each written down where several share those of a group; else they are all."""
        groups = [copy.group for copy in placed]
        if len(set(groups)) == len(groups):
            return tuple(msgspec.structs.replace(copy, nodes=()) if copy.nodes else copy for copy in placed)
        nodes = divided(placed, self._members(placed))
        shared = {copy.replica_id: groups.count(copy.group) > 1 for copy in placed}
        return tuple(
            msgspec.structs.replace(copy, nodes=nodes[copy.replica_id] if shared[copy.replica_id] else ())
            for copy in placed
        )

    def release(
        self, collection_id: int, partitions: Iterable[int] | None, existing: Iterable[int]
    ) -> LoadEntry | None:
        """Release all partitions (None) or some; returns what is left, None when nothing is."""
        with self._lock:
            old = self.entry(collection_id)
            if old is None:
                return None
            left = (
                () if partitions is None else tuple(p for p in existing if old.covers(p) and p not in set(partitions))
            )
            if not left:
                self._commit({}, [f"load/{collection_id}"])
                self._loaded = {c: e for c, e in self._loaded.items() if c != collection_id}
                return None
            return self._save(msgspec.structs.replace(old, partitions=left))

    def _save(self, entry: LoadEntry) -> LoadEntry:
        self._commit({f"load/{entry.collection_id}": msgspec.json.encode(entry)}, [])
        self._loaded = {**self._loaded, entry.collection_id: entry}
        return entry

    def _commit(self, puts: Mapping[str, bytes], gone: Sequence[str]) -> None:
        try:
            self._catalog.commit(puts, gone)
        except BaseException:  # also an interrupt: the catalog alone knows what happened
            self._read()
            raise

    # -- what is being loaded -------------------------------------------------------------------
    @contextmanager
    def loading(self, collection_id: int, total: int) -> Iterator[Progress]:
        """While it lasts, a collection of which nothing was loaded before is on its way, in so many steps."""
        progress = Progress(total)
        with self._lock:
            self._loading = {**self._loading, collection_id: progress}
        try:
            yield progress
        finally:
            with self._lock:
                self._loading = {c: p for c, p in self._loading.items() if c != collection_id}

    @contextmanager
    def arriving(self, collection_id: int, partitions: Collection[int]) -> Iterator[None]:
        """While it lasts, these partitions of a collection, of which others are loaded already, are on their way: who
        reads whatever is loaded does not wait for them."""
        own = (collection_id, frozenset(partitions))
        with self._lock:
            self._arriving = [*self._arriving, own]
        try:
            yield
        finally:
            with self._lock:
                self._arriving = [other for other in self._arriving if other is not own]

    def arriving_partitions(self, collection_id: int) -> frozenset[int]:
        """Of a collection of which others are loaded already."""
        arriving = self._arriving
        return frozenset(p for one, some in arriving if one == collection_id for p in some) if arriving else frozenset()

    def progress(self, collection_id: int) -> Progress | None:
        """Of a collection that is being loaded; None of any other."""
        return self._loading.get(collection_id) if self._loading else None

    # -- replicas -------------------------------------------------------------------------------
    def check_groups(self, groups: Sequence[str]) -> None:
        """Raise unless there are nodes for one replica in each of these groups, as often as it is named."""
        for name in dict.fromkeys(groups):
            there, wanted = len(self.groups.need(name).nodes), groups.count(name)
            if there < wanted:
                raise NodesNotEnough.of(name, there, wanted)

    def transfer_replicas(self, collection_id: int, source: str, target: str, count: int) -> None:
        """Move so many replicas of a collection from one group to another."""
        if source == target:
            raise InvalidParameter(
                f"source resource group and target resource group should not be the same, resource group: {source}"
            )
        if count < 1:
            raise InvalidParameter("", expected="NumReplica > 0", actual=f"invalid NumReplica {count}")
        with self.groups.lock, self._lock:
            self.groups.need(source)
            nodes = self.groups.need(target).nodes
            old = self.entry(collection_id)
            copies = () if old is None else old.copies
            there = [r for r in copies if r.group == source]
            if old is None or len(there) < count:
                raise InvalidParameter(
                    "",
                    expected="NumReplica not greater than the number of replica in source resource group",
                    actual=f"only found [{len(there)}] replicas of collection [{collection_id}] in source resource "
                    f"group [{source}], but {count} require",
                )
            wanted = count + sum(r.group == target for r in copies)
            if len(nodes) < wanted:
                raise NodesNotEnough.of(target, len(nodes), wanted)
            moved = {r.replica_id for r in there[:count]}
            placed = tuple(msgspec.structs.replace(r, group=target) if r.replica_id in moved else r for r in copies)
            self._save(msgspec.structs.replace(old, placed=self._with_nodes(placed)))

    def drop_group(self, name: str) -> None:
        """Drop a resource group in which nothing is loaded. Missing is success."""
        with self.groups.lock:
            here = [e.collection_id for e in self.entries() if any(r.group == name for r in e.copies)]
            if here and name != DEFAULT_RESOURCE_GROUP:  # which is never dropped, whatever is loaded
                raise InvalidParameter(
                    "some replicas still loaded in resource group, release it first",
                    expected="empty resource group",
                    actual=f"resource group {name} has collection {here} loaded",
                )
            self.groups.drop(name)

    # -- nodes ----------------------------------------------------------------------------------
    def see(
        self, nodes: Iterable[NodeInfo], leaving: Collection[int] = (), memory: Mapping[int, int] = ALIKE_MEMORY
    ) -> None:
        """Take over which query nodes there are. Nothing new is placed on those that are `leaving`, and they are in no
        group; until they are gone they serve what they have. `memory`: bytes of each, where that is known of all."""
        there = {node.node_id: node for node in nodes}
        with self.groups.lock, self._lock:
            self.groups.see(there.values(), leaving)
            self._cost_on = {n: self._cost_on.get(n, 0) for n in there}
            self.sizes = _sizes(there, memory)
            self._elsewhere = {n: cost for n, cost in self._elsewhere.items() if n in there}

    def settle(self) -> None:
        """Write down where nodes and replicas are now, after some have come or gone. For the one who decides."""
        with self.groups.lock, self._lock:
            self.groups.settle()
            for entry in self.entries():
                placed = self._with_nodes(entry.copies)
                if placed != entry.copies:
                    self._save(msgspec.structs.replace(entry, placed=placed))

    def replica_nodes(self, entry: LoadEntry) -> dict[int, Nodes]:
        """The nodes that serve each replica, by its id: those of its group that no other replica of the collection has.
        While a group has none, all do. None for a replica whose group has too few."""
        return divided(entry.copies, self._members(entry.copies))

    def _members(self, copies: Iterable[ReplicaRecord]) -> dict[str, Nodes]:
        every = self.groups.able
        found = {}
        for name in {copy.group for copy in copies}:
            group = self.groups.find(name)
            found[name] = (group.nodes if group is not None else ()) or every
        return found

    def replicas_for(self, collection_id: int) -> dict[int, Nodes]:
        """The nodes that may serve a collection's segments, for each of its replicas; none when it is not loaded."""
        entry = self.entry(collection_id)
        return {} if entry is None else self.replica_nodes(entry)

    def nodes_for(self, collection_id: int) -> Nodes:
        """The nodes that a collection's segments may be on."""
        return tuple(dict.fromkeys(n for nodes in self.replicas_for(collection_id).values() for n in nodes))

    # -- how much they serve --------------------------------------------------------------------
    @property
    def weights(self) -> Mapping[int, int]:
        """What each node serves, as costs of segments."""
        with self._lock:
            return {node: cost + self._elsewhere.get(node, 0) for node, cost in self._cost_on.items()}

    def add(self, node: int, cost: int) -> None:
        """A segment of this cost is served there from now on; a negative one when it is not any more."""
        with self._lock:
            if node in self._cost_on:
                self._cost_on[node] += cost

    def note(self, node: int, total: int) -> None:
        """What a node says it serves of everybody's segments."""
        with self._lock:
            if node in self._cost_on:
                self._elsewhere[node] = max(0, total - self._cost_on[node])


def _entry(value: bytes) -> LoadEntry:
    try:
        return from_json(value, LoadEntry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption(f"the catalog's entries under load/ cannot be read: {error}") from error
