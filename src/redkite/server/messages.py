"""What the nodes of this process have asked and answered, as metrics. A server alone has none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from redkite.cluster.traffic import SECONDS, of_process
from redkite.server.exposition import Labels, Sample


def message_samples() -> Iterator[Sample]:
    """Sums since the start, by the side that this process was on and the type of message."""
    prefix = "redkite_node_message"
    for (side, message), tally in sorted(of_process().items()):
        labels: Labels = (("side", side), ("message", message))
        yield Sample(f"{prefix}s_total", "Messages between nodes.", tally.calls, labels, "counter")
        text = "Messages between nodes that ended with an error."
        yield Sample(f"{prefix}_errors_total", text, tally.failed, labels, "counter")
        text = "Messages that no other node answered."
        yield Sample(f"{prefix}s_unanswered_total", text, tally.unanswered, labels, "counter")
        text = "Time until messages between nodes were answered."
        yield Sample(f"{prefix}_seconds_sum", text, tally.seconds, labels, "counter")
        bounds = (*map(str, SECONDS), "+Inf")
        for bound, below in zip(bounds, accumulate(tally.bins), strict=True):
            yield Sample(f"{prefix}_seconds_bucket", text, below, (*labels, ("le", bound)), "counter")
