"""Keeping a second cluster alike: who sends to whom, what is sent, and how far it has come."""

from __future__ import annotations

from typing import Final

import msgspec

from redkite.model.request import Request
from redkite.model.results import Result

NOTE, RECORD, ROWS, TRUNCATION, STATE = 1, 2, 3, 4, 5
"""Kinds of items: changed keys of the catalog; a record of a log; rows that are in no log; all rows went; every key."""
MAX_PAGE_BYTES: Final = 48 << 20
DEFAULT_CLUSTER: Final = "by-dev"
"""What a cluster is called that was given no other name."""


class ClusterAt(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster, and how it is reached."""

    cluster_id: str
    uri: str = ""
    token: str = ""
    pchannels: tuple[str, ...] = ()


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """`source` sends what is written to it to `target`."""

    source: str
    target: str


class ReplicateConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    clusters: tuple[ClusterAt, ...] = ()
    edges: tuple[Edge, ...] = ()

    def cluster(self, cluster_id: str) -> ClusterAt | None:
        return next((c for c in self.clusters if c.cluster_id == cluster_id), None)

    def source_of(self, cluster_id: str) -> str:
        """Whom a cluster follows; empty: nobody."""
        return next((edge.source for edge in self.edges if edge.target == cluster_id), "")

    def targets_of(self, cluster_id: str) -> tuple[ClusterAt, ...]:
        """Who follows a cluster."""
        wanted = {edge.target for edge in self.edges if edge.source == cluster_id}
        return tuple(c for c in self.clusters if c.cluster_id in wanted)

    def without_tokens(self) -> ReplicateConfiguration:
        shown = tuple(msgspec.structs.replace(c, token="") for c in self.clusters)
        return msgspec.structs.replace(self, clusters=shown)


class UpdateReplicateConfiguration(Request, frozen=True):
    """Say who follows whom. A secondary that is to be one no more waits until the primary has handed over, unless
    `force_promote`: then it is one at once, and what has not arrived is lost to it."""

    configuration: ReplicateConfiguration
    force_promote: bool = False


class GetReplicateConfiguration(Request, frozen=True):
    """-> ReplicationSetUp"""


class ReplicationSetUp(Result, frozen=True):
    configuration: ReplicateConfiguration
    """Without tokens."""


class GetReplicateInfo(Request, frozen=True):
    """-> ReplicateInfo. How far this cluster has followed another."""

    source_cluster_id: str
    target_pchannel: str = ""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    cluster_id: str
    pchannel: str
    message_id: str
    """A position of the source's feed."""
    timestamp: int
    """Everything that the source wrote up to then has arrived."""


class ReplicateInfo(Result, frozen=True):
    checkpoint: Checkpoint | None = None
    salvage: Checkpoint | None = None
    """How far it had come when it was promoted by force."""


class ReplicationItem(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened at the source, as its catalog or its log has it."""

    kind: int
    timestamp: int
    payload: bytes = b""
    channel: str = ""


class ReplicationPage(Result, frozen=True):
    """What comes next, in order. `end` is the position behind it."""

    items: tuple[ReplicationItem, ...] = ()
    end: str = ""
    more: bool = False
    timestamp: int = 0
    """When it was read: with no `more`, everything up to then is here or before."""


class ReadReplication(Request, frozen=True):
    """-> ReplicationPage. What a follower named `name` needs next; without a position everything there is. For one
    without a name nothing is kept once it does not read."""

    name: str
    position: str = ""
    start: str = ""
    """Without a position: `resume` goes on where the feed of that name stands, else everything comes."""
    max_bytes: int = 16 << 20
    wait_ms: int = 0


class ApplyReplication(Request, frozen=True):
    """-> Applied. Take over what a page of the source says. An empty one only asks how far this is."""

    source_cluster_id: str
    page: ReplicationPage = ReplicationPage()
    begin: bool = False
    """Become the follower of this source, if nothing is here yet and nobody has said whom to follow."""
    hand_over: bool = False
    """The source writes no more, and this page is its last."""
    after: str | None = None
    """The position that the page is read behind. A follower that is not there takes nothing of it, and says where it
    is: another has sent meanwhile, or the same one twice. None: it is not looked at."""


class Applied(Result, frozen=True):
    position: str
    """Of the source's feed; empty: nothing was taken over yet."""
    timestamp: int
    role: str
    """`primary`, or `secondary`, as it is now."""


class FreezeWrites(Request, frozen=True):
    """Refuse writes from now on, until `frozen` is false; `reason` is what writers hear."""

    frozen: bool
    reason: str = ""


class CountEverything(Request, frozen=True):
    """-> Totals. Rows of each collection, to compare two copies by."""

    timestamp: int = 0
    """As they were then; 0: now."""
    checksums: bool = False
    """Of every row, too: all of them are read."""


class Total(msgspec.Struct, frozen=True, kw_only=True):
    database: str
    collection: str
    rows: int
    checksum: int
    """Of every row, whatever its order; 0 where nobody asked for it."""


class Totals(Result, frozen=True):
    totals: tuple[Total, ...]
    users: tuple[str, ...]
    timestamp: int
