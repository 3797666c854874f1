"""A change whose coordinator goes away in the middle is made again by its asker, and is done once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.cluster.test_taking_over import Once, leader
from tests.engine import NAME

from redkite.cluster.forwarding import Forward, Forwarder
from redkite.cluster.leading import Leading
from redkite.cluster.network import Unanswered
from redkite.coordinator.broadcast import Broadcaster
from redkite.errors import CollectionNotFound, ImportFailed, UnknownOutcome
from redkite.model import access as ac
from redkite.model import requests as rq
from redkite.model.imports import DescribeImport, ListImports
from redkite.model.types import LoadState
from redkite.storage.coordination import Fenced


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    made = ClusterEngine(str(tmp_path / "objects"), coordinators=2, lease_seconds=1.0)
    made.create()
    yield made
    made.close()


def in_thread(act: Callable[[], Any]) -> Future[Any]:
    found: Future[Any] = Future()

    def run() -> None:
        try:
            found.set_result(act())
        except BaseException as error:  # noqa: BLE001  it is what comes of it
            found.set_exception(error)

    threading.Thread(target=run).start()
    return found


def users(engine: ClusterEngine) -> set[str]:
    return {user.name for user in engine.call(ac.SelectUsers()).users}


CHANGES: dict[str, rq.Request] = {
    "renamed": rq.RenameCollection(collection=NAME, new_name="other"),
    "user": ac.CreateUser(name="ann", password="secret-word"),
    "database": rq.CreateDatabase(database="second"),
    "partition": rq.CreatePartition(collection=NAME, partition="p"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_whose_leader_dies_before_it_says_so_is_done_once(engine, monkeypatch, name):
    once = Once(Leading._tell_all)
    monkeypatch.setattr(Leading, "_tell_all", lambda *args: once(*args))  # noqa: PLW0108  a method
    asked = in_thread(lambda: engine.call(CHANGES[name]))
    once.end(engine, "kill")
    asked.result(30)


def test_a_change_whose_leader_is_fenced_behind_its_decision_is_done_once(engine, monkeypatch):
    whole, left = Broadcaster._acknowledged, [1]

    def fenced(self, tasks):
        if left and left.pop():
            raise Fenced("another leads")
        whole(self, tasks)

    monkeypatch.setattr(Broadcaster, "_acknowledged", fenced)
    engine.call(CHANGES["renamed"])
    assert not left
    with pytest.raises(CollectionNotFound):
        engine.call(rq.DescribeCollection(collection=NAME))
    engine.call(rq.DescribeCollection(collection="other"))
    # Somebody else's is another request, and is told what is.
    with pytest.raises(CollectionNotFound):
        engine.call(CHANGES["renamed"])


def test_what_is_not_done_once_is_not_done_again_by_a_leader_that_had_begun(engine, monkeypatch):
    left = [1]
    engine.call(ac.CreateUser(name="ann", password="secret-word"))
    catalog = leader(engine).node.leading._catalog
    refresh = catalog.refresh

    def fails(*args, **more):
        if left:
            left.pop()
            raise Fenced("another leads")
        return refresh(*args, **more)

    monkeypatch.setattr(catalog, "refresh", fails)
    with pytest.raises(UnknownOutcome):
        engine.call(ac.CreateApiKey(name="k", owner="ann"))
    assert not left


def test_a_leader_that_is_being_closed_sends_its_askers_to_the_next_one(engine):
    first = leader(engine)
    first.node.leading._worker.shutdown(wait=False)
    asked = in_thread(lambda: engine.call(rq.CreateAlias(collection=NAME, alias="other")))
    time.sleep(0.2)
    engine.cluster.stop(first)
    asked.result(30)
    assert engine.call(rq.DescribeAlias(alias="other")).collection == NAME


def test_a_request_that_a_closing_leader_had_not_begun_to_change_anything_for_is_made_again(engine, monkeypatch):
    first = leader(engine)
    leading = first.node.leading
    once = Once(leading._decisions.call)
    monkeypatch.setattr(leading._decisions, "call", once)
    asked = in_thread(lambda: engine.call(rq.CreateCollection(schema=msgspec.structs.replace(
        engine.call(rq.DescribeCollection(collection=NAME)).schema, name="third"))))  # fmt: skip
    assert once.reached.wait(30)
    stopping = in_thread(lambda: engine.cluster.stop(first))
    while not leading._closed:
        time.sleep(0.01)
    once.over.set()  # what it needs is closed: Unavailable
    stopping.result(30)
    asked.result(30)
    assert engine.call(rq.HasCollection(collection="third")).value


@pytest.fixture
def late(monkeypatch) -> list[Forward]:
    """The first try of the first change that is sent on: it is not answered, and has not arrived yet."""
    send, kept = Forwarder._send, list[Forward]()

    def keeping_the_first(self: Forwarder, message: Forward, *more: Any) -> None:
        if kept:
            send(self, message, *more)
            return
        kept.append(message)
        self._failed(message, *more, Unanswered("the connection broke"))

    monkeypatch.setattr(Forwarder, "_send", keeping_the_first)
    return kept


def arrives_late(engine: ClusterEngine, message: Forward) -> None:
    with pytest.raises(Unanswered, match="was given up: it was sent again"):
        leader(engine).node._answer(message).result(30)


def test_a_collection_that_was_dropped_is_not_made_by_a_late_try_to_make_it(engine, late):
    third = msgspec.structs.replace(engine.call(rq.DescribeCollection(collection=NAME)).schema, name="third")
    late.clear()
    engine.call(rq.CreateCollection(schema=third))
    engine.call(rq.DropCollection(collection="third"))
    arrives_late(engine, late[0])
    assert not engine.call(rq.HasCollection(collection="third")).value


def test_a_collection_that_was_loaded_again_is_not_released_by_a_late_try_to_release_it(engine, late):
    engine.call(rq.ReleaseCollection(collection=NAME))
    engine.call(rq.LoadCollection(collection=NAME))
    arrives_late(engine, late[0])
    assert engine.call(rq.GetLoadState(collection=NAME)).state is not LoadState.NotLoad


def test_who_asks_for_imports_as_the_leader_goes_away_is_answered_by_the_next_one(engine, late):
    assert engine.call(ListImports()).jobs == ()
    assert len(late) == 1
    late.clear()
    with pytest.raises(ImportFailed, match="import job does not exist, jobID=5"):
        engine.call(DescribeImport(job_id=5))
