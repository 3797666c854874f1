"""Search iterators whose pages come from several proxies give every row once, also rows of equal score."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME

from redkite.cluster.local_network import LocalRemote
from redkite.cluster.network import ASK_SECONDS
from redkite.cluster.paging import NextPage
from redkite.cluster.shards.reading import READ_SECONDS
from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.types import DataType

ROWS = 50


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    made = ClusterEngine(str(tmp_path / "objects"), proxies=3)
    made.create(index="FLAT", shards=2)
    made.insert(range(ROWS), np.ones((ROWS, DIM), np.float32), range(ROWS))
    yield made
    made.close()


def page(engine: ClusterEngine, proxy: int, token: str, bound: float | None) -> rs.Hits:
    queries = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.zeros((1, DIM), np.float32))
    asked = rq.Page(token=token, last_bound=bound)
    hits: rs.Hits = engine.ask(proxy, rq.Search(collection=NAME, queries=queries, limit=7, page=asked))
    assert hits.page is not None
    return hits


@pytest.mark.parametrize("renews", [True, False], ids=["the newest token", "the first token"])
def test_every_row_comes_once_whichever_proxy_gives_the_page(engine: ClusterEngine, renews: bool) -> None:
    found: list[int] = []
    token, bound = "", None
    for proxy in cycle((1, 0, 2)):
        hits = page(engine, proxy, token, bound)
        if not len(hits.ids):
            break
        found += hits.ids.to_pylist()
        assert hits.page is not None
        token, bound = hits.page.token if renews or not token else token, hits.page.last_bound
    assert sorted(found) == list(range(ROWS))


def test_the_newest_token_is_enough_when_the_proxy_that_gave_it_has_gone(engine: ClusterEngine) -> None:
    first = page(engine, 2, "", None)
    assert first.page is not None
    second = page(engine, 2, first.page.token, first.page.last_bound)
    assert second.page is not None
    engine.cluster.kill(engine.cluster.nodes("proxy")[2])
    third = page(engine, 0, second.page.token, second.page.last_bound)
    keys = [key for hits in (first, second, third) for key in hits.ids.to_pylist()]
    assert len(set(keys)) == 21
    # Where the first token is all there is, rows of equal score are left out, and none comes twice.
    assert len(page(engine, 1, first.page.token, first.page.last_bound).ids) == 0


def test_a_page_may_take_the_other_proxy_as_long_as_a_read_may(
    engine: ClusterEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is slow is not one that has gone: whoever answers instead does not know where the last page ended."""
    first = page(engine, 2, "", None)
    assert first.page is not None
    given: list[float] = []
    ask = LocalRemote.ask_soon

    def asked(remote: LocalRemote, message: Any, timeout: float | None = None) -> Any:
        if isinstance(message, NextPage):
            given.append(ASK_SECONDS if timeout is None else timeout)
        return ask(remote, message, timeout)

    monkeypatch.setattr(LocalRemote, "ask_soon", asked)
    page(engine, 0, first.page.token, first.page.last_bound)
    assert given == [READ_SECONDS]


def test_what_is_no_token_is_refused(engine: ClusterEngine) -> None:
    name = f"1-{'a' * 32}"
    for token in ("x", f"{name}.", f"{name}.!", f"{name}.A", f"{name}.AAAA", f"{name}.k8DA"):
        with pytest.raises(InvalidParameter, match="invalid token format"):
            page(engine, 0, token, 1.0)
