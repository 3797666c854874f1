"""A secondary takes pages of its primary: a first page that comes twice, rows behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.engine import DIM, Engine

from redkite.model import replication as rp
from redkite.model.changes import ReadChanges


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Engine, Engine]]:
    primary, secondary = Engine(str(tmp_path / "primary")), Engine(str(tmp_path / "secondary"))
    primary.create()
    yield primary, secondary
    primary.close()
    secondary.close()


def write(engine: Engine, ids: range) -> None:
    engine.insert(list(ids), np.ones((len(ids), DIM), np.float32), list(ids))


def page(primary: Engine, position: str = "") -> rp.ReplicationPage:
    found = primary.call(rp.ReadReplication(name="replica-secondary", position=position))
    assert isinstance(found, rp.ReplicationPage)
    return found


def apply(secondary: Engine, taken: rp.ReplicationPage) -> rp.Applied:
    answer = secondary.call(rp.ApplyReplication(source_cluster_id="primary", page=taken, begin=not taken.items))
    assert isinstance(answer, rp.Applied)
    return answer


def ids(engine: Engine) -> list[int]:
    return sorted(engine.query("id >= 0", fields=("id",))["id"])


def test_a_secondary_that_begins_anew_takes_the_rows_of_the_collections_that_it_had(
    pair: tuple[Engine, Engine],
) -> None:
    """As one does that was killed behind its first page, before it had noted that."""
    primary, secondary = pair
    apply(secondary, rp.ReplicationPage())
    for round_ in range(3):
        write(primary, range(10 * round_, 10 * round_ + 10))
        first = page(primary)
        apply(secondary, first)
        assert ids(secondary) == list(range(10 * round_ + 10))
    write(primary, range(100, 110))
    apply(secondary, page(primary, first.end))
    assert ids(secondary) == ids(primary)
    secondary.reopen()
    assert ids(secondary) == ids(primary)


@pytest.mark.parametrize("name", ["", "audit"])
def test_a_secondary_that_begins_anew_while_its_changes_are_read_takes_everything(
    pair: tuple[Engine, Engine], name: str
) -> None:
    """What is kept for readers, named or not, is kept of the collections that come again, too."""
    primary, secondary = pair
    apply(secondary, rp.ReplicationPage())
    write(primary, range(10))
    apply(secondary, page(primary))
    secondary.call(ReadChanges(name=name))
    write(primary, range(10, 20))
    apply(secondary, page(primary))
    assert ids(secondary) == list(range(20))
