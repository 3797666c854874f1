"""The log in a broker, read from anywhere and forgotten piece by piece, by those who were away as well."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.storage.test_shared_log import TOPIC, Cluster, Ledger, add, misbehave, texts

from redkite.errors import MilvusException, Unavailable
from redkite.storage.shared_topic import SharedTopic, Superseded


def leave_a_void_message(cluster: Cluster) -> SharedTopic:
    """The topic of a writer behind whose first record a message of its predecessor came in late."""
    topic = cluster.log().topic(TOPIC)
    add(topic, b"1")
    cluster.world.late = 1.0
    topic.append([b"late"])
    cluster.env.tasks.run_until_idle()
    cluster.world.late = 0.0
    heir = cluster.log().topic(TOPIC)
    add(heir, b"2")
    cluster.world.let_late_ones_in()
    return heir


@pytest.mark.parametrize("gaps", [False, True])
def test_a_record_is_read_from_its_own_position_whatever_lies_before_it(gaps):
    cluster = Cluster()
    cluster.world.gaps = gaps
    topic = cluster.log().topic(TOPIC)
    written = [b"1", b"y" * 200, b"3", b"z" * 100, *(b"%d" % at for at in range(10))]
    positions = add(topic, *written)
    for at, position in enumerate(positions):
        assert texts(topic, position) == written[at:]
    reader, _ = cluster.process(reads=True)
    assert [texts(reader.topic(TOPIC), position)[0] for position in positions] == written
    group = topic.group("again")
    group.seek(positions[3])
    assert [bytes(record.payload) for record in group.poll()] == written[3:]


def test_records_behind_a_void_message_are_read_from_any_position():
    cluster = Cluster()
    heir = leave_a_void_message(cluster)
    positions = add(heir, b"3", b"4")
    assert texts(heir, positions[0]) == [b"3", b"4"]
    for at in range(cluster.world.topics[TOPIC].next):
        assert texts(heir, at)[-2:] == ([b"3", b"4"] if at <= positions[0] else [b"4"]), at


def test_truncating_behind_a_void_message_keeps_the_rest():
    cluster = Cluster()
    heir = leave_a_void_message(cluster)
    positions = add(heir, b"3", b"4")
    heir.truncate(positions[0])
    assert texts(heir, positions[0]) == cluster.read()[-2:] == [b"3", b"4"]
    assert texts(cluster.log().topic(TOPIC))[-2:] == [b"3", b"4"]


def test_a_writer_that_was_away_while_its_heir_wrote_and_forgot_acknowledges_nothing():
    cluster = Cluster()
    log, broker = cluster.process()
    old = log.topic(TOPIC)
    add(old, b"1")
    broker.cut_off()
    cluster.env.tasks.run_until_idle()
    new = cluster.log().topic(TOPIC)
    add(new, b"2", b"3")
    new.truncate(new.end)
    with pytest.raises((Superseded, Unavailable)):
        old.append([b"4"]).result()
    with pytest.raises((Superseded, Unavailable)):
        old.append([b"5"]).result()
    add(new, b"6")
    assert texts(new) == cluster.read() == [b"6"]


def test_a_write_that_was_durable_and_forgotten_before_it_was_read_back_is_not_said_to_be_refused():
    cluster = Cluster()
    log, broker = cluster.process()
    old = log.topic(TOPIC)
    add(old, b"1")
    broker._followers = ()  # nothing is heard any more
    future = old.append([b"2"])
    cluster.env.tasks.run_until_idle()
    new = cluster.log().topic(TOPIC)
    assert texts(new) == [b"1", b"2"]
    add(new, b"3")
    new.truncate(new.end)
    old._lose(Unavailable("the connection is gone"))
    with pytest.raises(Unavailable, match="not known"):
        future.result()
    with pytest.raises(MilvusException):
        add(old, b"4")
    assert cluster.read() == []


def test_a_reader_that_was_away_while_a_new_writer_wrote_and_forgot_sees_what_there_is():
    cluster = Cluster()
    add(cluster.log().topic(TOPIC), b"1")
    reader = cluster.process(reads=True)[0].topic(TOPIC)
    assert texts(reader) == [b"1"]
    writer = cluster.log().topic(TOPIC)
    add(writer, b"2", b"3")
    writer.truncate(writer.end)
    add(writer, b"4")
    assert texts(reader) == [b"4"]
    assert reader.end == writer.end


def test_an_append_cannot_be_cancelled():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    future = topic.append([b"1"])
    assert not future.cancel()
    add(topic, b"2")
    assert texts(topic) == [b"1", b"2"]


def test_closing_ends_the_wait_for_a_broker_that_is_silent():
    cluster = Cluster()
    log, broker = cluster.process()
    topic = log.topic(TOPIC)
    add(topic, b"1")
    broker._followers = ()
    future = topic.append([b"2"])
    topic.abandon()
    with pytest.raises(Unavailable, match="not known"):
        future.result()
    assert log.backlog.size == 0


def test_whoever_waits_hears_in_time_even_when_nothing_can_be_settled():
    cluster = Cluster()
    log, broker = cluster.process()
    topic = log.topic(TOPIC)
    add(topic, b"1")
    broker._followers = ()
    topic._settlers = cluster.env.tasks.executor("busy", 1)
    topic._settlers.submit = lambda *_: None  # too many others are settled before
    future = topic.append([b"2"])
    cluster.env.tasks.advance(4 * log.settings.patience_seconds)
    assert future.done()
    with pytest.raises(Unavailable, match="not known"):
        future.result()
    assert log.backlog.size == 0


@given(seed=st.integers(0, 1 << 30))
def test_whatever_is_forgotten_and_whoever_takes_over_the_rest_is_read_from_everywhere(seed):
    rng = random.Random(seed)
    cluster, ledger = Cluster(seed), Ledger()
    world = cluster.world
    world.gaps = rng.random() < 0.3
    everybody = [cluster.process()]
    reader = cluster.process(reads=True)[0].topic(TOPIC)
    numbers = itertools.count()
    for _ in range(20):
        misbehave(rng, cluster, everybody)
        topic = rng.choice(everybody[-2:])[0].topic(TOPIC)
        for data in [b"%d:" % next(numbers) + rng.randbytes(rng.choice((0, 10, 100))) for _ in range(rng.randrange(4))]:
            future = ledger.write(topic, data)
            if future is not None:
                ledger.wait(data, future)
        try:
            if rng.random() < 0.3:
                topic.truncate(rng.randint(min(topic.start, topic.end), topic.end))
            if rng.random() < 0.3:
                texts(reader)
        except MilvusException:
            pass  # the broker is down, or somebody else writes
    world.down = False
    world.lost = world.doubled = world.late = world.silent = 0.0
    heir = cluster.log().topic(TOPIC)
    add(heir, b"end")
    kept = [(record.position, bytes(record.payload)) for record in heir.read()]
    assert [data for _, data in kept] == cluster.read() == texts(reader)
    assert not ledger.void & {data for _, data in kept}
    acknowledged = [data for data in ledger.acknowledged if data in {found for _, found in kept}]
    assert acknowledged == [data for _, data in kept if data in set(acknowledged)]
    assert ledger.acknowledged[len(ledger.acknowledged) - len(acknowledged) :] == acknowledged
    for position in range(heir.start, heir.end + 1):
        assert texts(heir, position) == [data for at, data in kept if at >= position]
