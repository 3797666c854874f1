"""Bringing up, scaling and restarting nodes, on a runtime in memory."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.launch.fakes import FakeRuntime

from redkite.cluster.config import ClusterConfig
from redkite.errors import InvalidParameter, Unavailable
from redkite.launch.control import Control, read_counts
from redkite.launch.runtime import number_of, role_of

CONFIG = ClusterConfig(coordinators=2, streaming=1, query=2, data=1, proxies=1)


def controlled(runtime: FakeRuntime, said: list[str] | None = None) -> Control:
    told = said if said is not None else []
    return Control(runtime, told.append, wait=runtime.wait, clock=lambda: runtime.now)


def up(said: list[str] | None = None) -> tuple[FakeRuntime, Control]:
    runtime = FakeRuntime()
    control = controlled(runtime, said)
    control.up(CONFIG)
    runtime.history.clear()
    return runtime, control


def test_a_cluster_is_up_when_every_node_that_the_config_asks_for_is_ready() -> None:
    runtime, said = FakeRuntime(), list[str]()
    placed = controlled(runtime, said).up(CONFIG)
    assert sorted(placed) == [
        "coordinator-1",
        "coordinator-2",
        "data-1",
        "proxy-1",
        "query-1",
        "query-2",
        "streaming-1",
    ]
    assert {one.stage for one in placed.values()} == {"ready"}
    assert sum("is ready at host:" in line for line in said) == 7


def test_bringing_up_what_is_there_starts_nothing() -> None:
    runtime, control = up()
    control.up(CONFIG)
    assert runtime.history == []


def test_bringing_up_again_starts_what_is_missing_in_its_place() -> None:
    runtime, control = up()
    del runtime.nodes["query-1"]
    control.up(CONFIG)
    assert runtime.history == ["start query-1", "ready query-1"]


def test_scaling_up_starts_nodes_and_waits_for_them() -> None:
    runtime, control = up()
    control.scale({"query": 4, "data": 2})
    assert Counter(role_of(name) for name in runtime.nodes)["query"] == 4
    assert {one.stage for one in runtime.nodes.values()} == {"ready"}


def test_scaling_down_lets_the_newest_go_and_waits_until_they_are_gone() -> None:
    runtime, control = up()
    control.scale({"query": 1})
    assert runtime.history == ["stop query-2", "gone query-2"]


def test_a_node_that_was_drained_goes_before_newer_ones() -> None:
    runtime, control = up()
    control.scale({"query": 1}, leaving_first={runtime.nodes["query-1"].node_id})
    assert runtime.history == ["stop query-1", "gone query-1"]


def test_a_rolling_restart_never_has_fewer_nodes_than_before_nor_any_old_one_left() -> None:
    runtime, control = up()
    before = {one.node_id for one in runtime.nodes.values()}
    least: Counter[str] = Counter({"coordinator": 9, "streaming": 9, "query": 9, "data": 9, "proxy": 9})

    def look() -> None:
        ready = Counter(one.role for one in runtime.nodes.values() if one.stage == "ready")
        for role in least:
            least[role] = min(least[role], ready[role])

    runtime.on_look = look
    control.restart()
    assert not before & {one.node_id for one in runtime.nodes.values()}
    assert dict(least) == {"coordinator": 2, "streaming": 1, "query": 2, "data": 1, "proxy": 1}


def test_a_rolling_restart_touches_one_node_at_a_time_and_the_leader_after_those_that_stand_by() -> None:
    runtime, control = up()
    leader = runtime.nodes["coordinator-1"].node_id
    control.restart(("coordinator",), lambda: leader)
    assert runtime.history == [
        "start coordinator-3", "ready coordinator-3", "stop coordinator-2", "gone coordinator-2",
        "start coordinator-2", "ready coordinator-2", "stop coordinator-1", "gone coordinator-1",
    ]  # fmt: skip


def test_a_restart_at_once_ends_all_of_a_role_before_it_starts_one() -> None:
    runtime, control = up()
    control.restart_at_once(("query",))
    assert runtime.history == [
        "stop query-1", "stop query-2", "gone query-1", "gone query-2",
        "start query-1", "start query-2", "ready query-1", "ready query-2",
    ]  # fmt: skip


def test_a_node_that_ends_again_and_again_is_given_up_with_its_reason() -> None:
    runtime = FakeRuntime()
    runtime.refusing = {"query-2"}
    with pytest.raises(Unavailable, match="query-2 did not come up: it has no key"):
        controlled(runtime).up(CONFIG)
    assert runtime.now < 10


def test_a_node_that_never_comes_is_waited_for_so_long_and_no_longer() -> None:
    runtime = FakeRuntime(delay=10_000)
    with pytest.raises(Unavailable, match="did not come up: nothing was said"):
        controlled(runtime).up(CONFIG, seconds=5)
    assert 5 <= runtime.now < 6


def test_a_part_that_does_not_run_is_named_as_the_reason() -> None:
    runtime = FakeRuntime(delay=10_000)
    control = Control(
        runtime, print, wait=runtime.wait, clock=lambda: runtime.now, faults=lambda: {"kafka": "Kafka ended"}
    )
    with pytest.raises(Unavailable, match="kafka: Kafka ended"):
        control.up(CONFIG, seconds=1)


def test_a_count_is_said_once() -> None:
    with pytest.raises(InvalidParameter, match="how many of role query was said before"):
        read_counts(["query=1", "queries=2"])


def test_counts_are_read_as_people_write_them() -> None:
    assert read_counts(["query=4", "proxies=2", "data=0"]) == {"query": 4, "proxy": 2, "data": 0}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("query", "'query': expected ROLE=NUMBER"),
        ("querry=3", "roles are coordinator, streaming, query, data, proxy"),
        ("query=many", "expected ROLE=NUMBER"),
        ("query=0", "query=0: there must be 1 to 4096"),
        ("coordinator=99999", "there must be 1 to 4096"),
    ],
)
def test_wrong_counts_are_refused(word: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read_counts([word])
    assert message in caught.value.message


def test_the_name_of_a_place_says_its_role_and_number() -> None:
    assert (role_of("streaming-12"), number_of("streaming-12")) == ("streaming", 12)
