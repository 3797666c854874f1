"""The log in a broker: what was acknowledged is there once, whoever wrote and whatever failed."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.env import Env
from redkite.errors import Corruption, InvalidParameter, MilvusException, StorageError, TopicBehind, Unavailable
from redkite.simulated import simulated_env
from redkite.storage.catalog import MemoryCatalog
from redkite.storage.log import EARLIEST, LATEST
from redkite.storage.memory_broker import BrokerWorld, MemoryBroker
from redkite.storage.shared_format import HEADER_BYTES, Session, begin_message, record_messages
from redkite.storage.shared_log import SharedLog, SharedLogSettings
from redkite.storage.shared_topic import Superseded

TOPIC = "t"


@dataclass
class Cluster:
    """Processes that share a broker; each new one has a higher term."""

    seed: int = 0
    message_bytes: int = HEADER_BYTES + 64
    world: BrokerWorld = field(init=False)
    env: Env = field(init=False)
    positions: MemoryCatalog = field(init=False)
    terms: int = 0

    def __post_init__(self) -> None:
        self.env = simulated_env(self.seed)
        self.world = BrokerWorld(random.Random(self.seed))
        self.positions = MemoryCatalog()

    def process(self, *, term: int | None = None, reads: bool = False) -> tuple[SharedLog, MemoryBroker]:
        self.terms += term is None and not reads
        own = self.terms if term is None else term
        broker = MemoryBroker(self.world, self.env, self.message_bytes)
        term_of = None if reads else lambda _: own
        return SharedLog(self.env, broker, self.positions, term_of, SharedLogSettings()), broker

    def log(self) -> SharedLog:
        return self.process()[0]

    def read(self) -> list[bytes]:
        """As a process that only reads sees it."""
        log, _ = self.process(reads=True)
        return [bytes(record.payload) for record in log.topic(TOPIC).read()]


def add(topic, *texts):
    return [topic.append([text]).result() for text in texts]


def texts(topic, position=0):
    return [bytes(record.payload) for record in topic.read(position)]


def test_records_of_any_length_are_read_back_in_order_by_everybody():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    written = [b"", b"short", b"x" * 64, b"y" * 65, b"z" * 1000]
    positions = add(topic, *written)
    assert positions == sorted(positions)
    assert texts(topic) == cluster.read() == written
    assert [texts(topic, position + 1) for position in positions] == [written[at:] for at in range(1, 6)]
    assert topic.end == positions[-1] + 1


def test_on_durable_runs_in_order_before_the_future_is_done_and_the_answer_after_it():
    topic = Cluster().log().topic(TOPIC)
    applied = []
    futures = [topic.append([b"%d" % at], applied.append, lambda at=at: (at, len(applied))) for at in range(5)]
    answers = [future.result() for future in futures]
    assert applied == sorted(applied)
    assert all(count > at for at, count in answers)


def test_a_writer_that_was_superseded_acknowledges_nothing_more():
    cluster = Cluster()
    old, new = cluster.log().topic(TOPIC), cluster.log().topic(TOPIC)
    add(old, b"1")
    late = old.append([b"on its way"])
    add(new, b"2")
    with pytest.raises((Superseded, Unavailable)):
        old.append([b"3"]).result()
    with pytest.raises(Superseded):
        add(old, b"4")
    expected = [b"1", b"on its way", b"2"] if late.exception() is None else [b"1", b"2"]
    assert texts(new) == cluster.read() == expected
    with pytest.raises(Superseded):
        old.refresh()


def test_a_writer_that_comes_too_late_is_told_at_once():
    cluster = Cluster()
    add(cluster.log().topic(TOPIC), b"1")
    cluster.process(term=7)[0].topic(TOPIC).append([b"2"]).result()
    stale, _ = cluster.process(term=3)
    with pytest.raises(Superseded):
        add(stale.topic(TOPIC), b"3")
    assert cluster.read() == [b"1", b"2"]


def test_what_a_dead_writer_sent_and_comes_late_is_void():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    add(topic, b"1")
    cluster.world.late = 1.0
    lost = topic.append([b"late"])
    cluster.env.tasks.run_until_idle()
    cluster.world.late = 0.0
    heir = cluster.log().topic(TOPIC)
    add(heir, b"2")
    cluster.world.let_late_ones_in()
    add(heir, b"3")
    assert texts(heir) == cluster.read() == [b"1", b"2", b"3"]
    assert lost.exception() is not None


def test_messages_that_the_broker_keeps_twice_count_once():
    cluster = Cluster()
    cluster.world.doubled = 1.0
    topic = cluster.log().topic(TOPIC)
    add(topic, b"1", b"2" * 200, b"3")
    assert texts(topic) == cluster.read() == [b"1", b"2" * 200, b"3"]


def test_a_write_whose_message_was_lost_is_refused_and_the_next_one_goes_on():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    add(topic, b"1")
    cluster.world.lost = 1.0
    future = topic.append([b"lost"])
    while cluster.world.topics[TOPIC].next < 2 or not future.done():
        if not cluster.env.tasks.step():
            break
        if topic._begun is not None:
            cluster.world.lost = 0.0
    with pytest.raises(Unavailable):
        future.result()
    cluster.world.lost = 0.0
    if topic.unapplied:
        texts(topic)
        topic.resume()
    add(topic, b"2")
    assert texts(topic) == cluster.read() == [b"1", b"2"]


def test_nobody_knows_whether_a_write_is_durable_until_the_broker_is_back():
    cluster = Cluster()
    log, _ = cluster.process()
    topic = log.topic(TOPIC)
    add(topic, b"1")
    cluster.world.down = True
    future = topic.append([b"2"])
    with pytest.raises(Unavailable, match="not known"):
        future.result()
    with pytest.raises(MilvusException):
        add(topic, b"3")
    cluster.world.down = False
    with pytest.raises(TopicBehind, match="takes no writes"):
        add(topic, b"3")
    assert texts(topic) == [b"1"]
    topic.resume()
    add(topic, b"4")
    assert cluster.read() == [b"1", b"4"]


def test_a_lost_connection_is_made_again_by_itself():
    cluster = Cluster()
    log, broker = cluster.process()
    topic = log.topic(TOPIC)
    add(topic, b"1")
    broker.cut_off()
    cluster.env.tasks.run_until_idle()
    add(topic, b"2")
    assert texts(topic) == [b"1", b"2"]


def test_after_an_error_while_applying_nothing_more_is_applied_until_the_log_was_read_again():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    applied = []

    def fail(position):
        raise ValueError("no")

    futures = [topic.append([b"1"], applied.append), topic.append([b"2"], fail), topic.append([b"3"], applied.append)]
    assert isinstance(futures[1].exception(), ValueError)
    assert futures[2].exception() is not None
    assert len(applied) == 1
    with pytest.raises(TopicBehind, match="takes no writes"):
        topic.append([b"4"])
    assert texts(topic)[:2] == [b"1", b"2"]
    replayed = texts(topic)
    topic.resume()
    add(topic, b"5")
    assert texts(topic) == cluster.read() == [*replayed, b"5"]


def test_what_was_truncated_is_gone_and_the_rest_is_judged_as_before():
    cluster = Cluster()
    cluster.world.gaps = True
    topic = cluster.log().topic(TOPIC)
    positions = add(topic, b"1", b"2" * 200, b"3")
    topic.truncate(positions[1] + 1)
    assert topic.start == positions[1] + 1
    assert texts(topic) == cluster.read() == [b"3"]
    topic.truncate(topic.end)
    assert topic.start == topic.end
    assert texts(topic) == []
    heir = cluster.log().topic(TOPIC)
    assert heir.end > positions[2]
    add(heir, b"4")
    assert texts(heir, positions[2] + 1) == cluster.read() == [b"4"]
    with pytest.raises(InvalidParameter):
        heir.truncate(heir.end + 1)


def test_groups_keep_what_they_have_not_acknowledged():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    positions = add(topic, b"1", b"2", b"3")
    slow, quick = topic.group("slow"), topic.group("quick", LATEST)
    assert topic.groups() == ["quick", "slow"]
    topic.truncate(topic.end)
    assert [bytes(record.payload) for record in slow.poll(2)] == [b"1", b"2"]
    assert quick.poll() == []
    slow.acknowledge(positions[0])
    assert topic.start == positions[0] + 1
    again = cluster.log().topic(TOPIC).group("slow", EARLIEST)
    assert [bytes(record.payload) for record in again.poll()] == [b"2", b"3"]


def test_a_message_of_somebody_else_is_corruption_with_its_place():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    add(topic, b"1")
    cluster.world.keep(TOPIC, b"hello")
    with pytest.raises(Corruption, match=f"message 2 of the log's topic '{TOPIC}'"):
        cluster.read()
    with pytest.raises(MilvusException):
        for _ in range(3):
            add(topic, b"2")


def test_a_flipped_bit_is_never_read_as_data():
    whole = b"".join(record_messages(Session(3, 1), 1, [b"some text"], 1000))
    for bit in range(len(whole) * 8):
        cluster = Cluster()
        cluster.world.keep(TOPIC, begin_message(Session(3, 1)))
        cluster.world.keep(
            TOPIC, bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(whole))
        )
        with pytest.raises(Corruption):
            cluster.read()


def test_a_log_that_is_only_read_takes_no_writes():
    cluster = Cluster()
    add(cluster.log().topic(TOPIC), b"1")
    log, _ = cluster.process(reads=True)
    with pytest.raises(StorageError, match="reading only"):
        log.topic(TOPIC).append([b"2"])
    with pytest.raises(StorageError, match="reading only"):
        log.drop(TOPIC)
    assert texts(log.topic(TOPIC)) == [b"1"]


def test_a_closed_log_takes_nothing():
    cluster = Cluster()
    log = cluster.log()
    topic = log.topic(TOPIC)
    add(topic, b"1")
    log.close()
    log.close()
    for use in (lambda: topic.append([b"2"]), lambda: log.topic(TOPIC)):
        with pytest.raises(StorageError, match="closed"):
            use()
    assert cluster.read() == [b"1"]


@dataclass
class Ledger:
    acknowledged: list[bytes] = field(default_factory=list)
    void: set[bytes] = field(default_factory=set)

    def write(self, topic, data):
        """A future, or None for a write that was refused."""
        try:
            if topic.unapplied:
                list(topic.read())
                topic.resume()
            return topic.append([data], lambda _: self.acknowledged.append(data))
        except MilvusException:
            self.void.add(data)
            return None

    def wait(self, data, future):
        try:
            future.result()
            assert data in self.acknowledged
        except (Unavailable, Superseded) as error:
            if isinstance(error, Superseded) or "did not get into" in error.message:
                self.void.add(data)


def misbehave(rng, cluster, everybody):
    """Something happens to the broker or to who uses it."""
    world = cluster.world
    bad = rng.random() < 0.5
    world.lost, world.doubled, world.late, world.silent = (rng.random() * 0.2 * bad for _ in range(4))
    step = rng.randrange(10)
    if step == 0:
        everybody.append(cluster.process())
    elif step == 1:
        world.down = not world.down
    elif step == 2:
        rng.choice(everybody)[1].cut_off()
    elif step == 3:
        world.let_late_ones_in()


@given(seed=st.integers(0, 1 << 30))
def test_whatever_fails_and_whoever_takes_over_no_acknowledged_record_is_lost_doubled_or_moved(seed):
    rng = random.Random(seed)
    cluster, ledger = Cluster(seed), Ledger()
    world = cluster.world
    world.gaps = rng.random() < 0.3
    everybody = [cluster.process()]
    numbers = itertools.count()
    for _ in range(30):
        misbehave(rng, cluster, everybody)
        topic = rng.choice(everybody[-2:])[0].topic(TOPIC)
        written = [b"%d:" % next(numbers) + rng.randbytes(rng.choice((0, 10, 100))) for _ in range(rng.randrange(4))]
        waiting = [(data, ledger.write(topic, data)) for data in written]
        for data, future in waiting:
            if future is not None:
                ledger.wait(data, future)
    world.down = False
    world.lost = world.doubled = world.late = world.silent = 0.0
    heir = cluster.log().topic(TOPIC)
    kept = texts(heir)
    world.let_late_ones_in()
    add(heir, b"end")
    assert texts(heir) == cluster.read() == [*kept, b"end"]
    assert len(set(kept)) == len(kept)
    assert not ledger.void & set(kept)
    order = {data: at for at, data in enumerate(kept)}
    places = [order[data] for data in ledger.acknowledged]
    assert places == sorted(places)
