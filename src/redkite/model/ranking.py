"""Several searches ranked as one: the request, which `requests.py` re-exports."""

from __future__ import annotations

from typing import Any

from redkite.model.highlighting import Highlighter
from redkite.model.reading import Grouping, Search
from redkite.model.request import Request
from redkite.model.scoring import FunctionChain, FunctionScore
from redkite.model.tuning import Explain
from redkite.model.types import ConsistencyLevel


class HybridSearch(Request, frozen=True):
    """-> Hits. All `searches` read one snapshot of the rows.

    A search of it has its own vectors, field, filter, metric, parameters and limit, which is raised to what the whole
    asks for; its offset, output fields, partitions, times and consistency are the whole's.
    """

    collection: str
    searches: tuple[Search, ...]
    limit: int
    offset: int = 0
    strategy: str = ""
    """`rrf` or `weighted`, with `rank_params`; empty: what `function_score` says, else `rrf`."""
    rank_params: dict[str, Any] = {}
    """`k` of rrf; `weights` and `norm_score` of weighted."""
    explain: Explain = ""
    function_score: FunctionScore | None = None
    function_chains: tuple[FunctionChain, ...] = ()
    """Steps that score and order the hits anew: early stages in each search, the others in the one list."""
    highlighter: Highlighter | None = None
    """Mark words in the hits' texts; the searches have none of their own."""
    output_fields: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    round_decimal: int = -1
    grouping: Grouping | None = None
    """`limit` and `offset` count groups then."""
    group_scorer: str = "max"
    """What ranks a group, of the scores of its hits: `max`, `sum` or `avg`."""
    consistency_level: ConsistencyLevel | None = None
    """None: the collection's own level."""
    guarantee_timestamp: int = 0
    as_of: int = 0
    """Read the rows as they were at this hybrid timestamp; 0: the newest."""
    timezone: str = ""
    """IANA name: times are shown as they are there; empty: the collection's."""
    time_fields: tuple[str, ...] = ()
    """Show times as lists of these parts (`moments.TIME_PARTS`); empty: as texts."""
