"""One write, or one moment, over several shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from redkite.node.shard import Shard


@contextmanager
def turns(shards: Iterable[Shard], *, settled: bool = False) -> Iterator[None]:
    """Nobody else logs a write to any of these shards meanwhile, so a timestamp taken here fits all of them. `settled`:
    everything logged before is applied and can be read."""
    with ExitStack() as held:
        # In one order for everybody, so that nobody waits for one who waits for them.
        for shard in sorted(shards, key=lambda s: s.channel):
            held.enter_context(shard.turn(settled=settled))
        yield
