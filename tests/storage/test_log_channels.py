"""Virtual channels on a physical one: each is a log by itself, whatever the others do, and one pass reads them all."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import pytest

from redkite.env import Env
from redkite.errors import Corruption, InvalidParameter, MilvusException, NotOwner, StorageError, TopicBehind
from redkite.simulated import simulated_env
from redkite.storage.catalog import MemoryCatalog
from redkite.storage.local_log import LocalLog
from redkite.storage.log import LATEST
from redkite.storage.log_channels import ChannelLog
from redkite.storage.memory_broker import BrokerWorld, MemoryBroker
from redkite.storage.shared_format import HEADER_BYTES
from redkite.storage.shared_log import SharedLog
from redkite.storage.shared_topic import Superseded

PHYSICAL = "dml_0"
ONE, TWO, THREE = (f"{PHYSICAL}_{number}v0" for number in (101, 102, 103))


class CountingBroker(MemoryBroker):
    """Notes how many messages were read."""

    read_messages = 0

    def read(self, topic, position):
        for message in super().read(topic, position):
            CountingBroker.read_messages += 1
            yield message


@dataclass
class Owners:
    """Processes that own the physical channel one after another; what the catalog says of its channels."""

    seed: int = 0
    gaps: bool = True
    replay_bytes: int = 1 << 20
    world: BrokerWorld = field(init=False)
    env: Env = field(init=False)
    positions: MemoryCatalog = field(default_factory=MemoryCatalog)
    checkpoints: dict[str, int | None] = field(default_factory=dict)
    term: int = 0

    def __post_init__(self) -> None:
        self.env = simulated_env(self.seed)
        self.world = BrokerWorld(random.Random(self.seed), gaps=self.gaps)

    def log(self, *, reads: bool = False) -> ChannelLog:
        self.term += not reads
        own = self.term
        broker = CountingBroker(self.world, self.env, HEADER_BYTES + 64)
        below = SharedLog(self.env, broker, self.positions, None if reads else lambda _: own)
        return ChannelLog(below, self.positions, lambda name: self.checkpoints.get(name, 0), self.replay_bytes)

    def truncate(self, log: ChannelLog, name: str, position: int) -> None:
        self.checkpoints[name] = max(position, self.checkpoints.get(name) or 0)
        log.topic(name).truncate(position)

    @property
    def kept(self) -> int:
        return len(self.world.topics[PHYSICAL].messages)


def add(log, name, *texts):
    return [log.topic(name).append([text[:1], text[1:]]).result() for text in texts]


def texts(log, name, position=0):
    return [bytes(record.payload) for record in log.topic(name).read(position)]


def test_each_channel_has_its_own_records_in_order_at_positions_with_gaps():
    owners = Owners()
    log = owners.log()
    first = add(log, ONE, b"1", b"")
    add(log, TWO, b"two" * 50)
    later = add(log, ONE, b"3")
    assert first + later == sorted({*first, *later})
    assert later[0] > first[-1] + 1
    for seen in (log, owners.log(reads=True), owners.log()):
        assert texts(seen, ONE) == [b"1", b"", b"3"]
        assert texts(seen, TWO) == [b"two" * 50]
        assert texts(seen, ONE, first[-1] + 1) == [b"3"]
        assert texts(seen, THREE) == []
        assert seen.topics() == [ONE, TWO]


def test_payloads_begin_at_a_multiple_of_eight():
    log = Owners().log()
    add(log, ONE, b"x" * 16)
    (record,) = log.topic(ONE).read()
    whole = bytes(record.payload.obj)
    assert whole.endswith(b"x" * 16)
    assert len(log.topic(ONE)._header) % 8 == 0


def test_on_durable_runs_in_the_order_of_the_log_and_before_the_answer():
    log = Owners().log()
    seen: list[tuple[str, int]] = []
    futures = [
        log.topic(name).append([b"x"], lambda at, name=name: seen.append((name, at)), lambda: len(seen))
        for name in (ONE, TWO, ONE)
    ]
    counts = [future.result() for future in futures]
    assert [name for name, _ in seen] == [ONE, TWO, ONE]
    assert counts == sorted(counts)


def test_the_physical_channel_is_forgotten_up_to_the_first_record_that_any_channel_needs():
    owners = Owners(gaps=False)
    log = owners.log()
    one = add(log, ONE, b"1", b"2", b"3")
    two = add(log, TWO, b"a")
    one += add(log, ONE, b"4")
    before = owners.kept
    owners.truncate(log, ONE, one[-1] + 1)
    assert owners.kept == before - 3, "the record of the other channel stays, and one before it to tell what counts"
    assert texts(log, TWO) == [b"a"]
    owners.truncate(log, TWO, two[-1] + 1)
    assert owners.kept <= 1
    again = owners.log()
    assert texts(again, ONE) == texts(again, TWO) == []


def test_a_channel_that_was_dropped_and_one_without_records_keep_nothing_back():
    owners = Owners(gaps=False)
    log = owners.log()
    add(log, ONE, b"1")
    two = add(log, TWO, b"a", b"b")
    log.topic(THREE)
    owners.truncate(log, TWO, two[-1] + 1)
    assert owners.kept > 3
    owners.checkpoints[ONE] = None
    log.drop(ONE)
    assert owners.kept <= 1
    with pytest.raises(StorageError, match="closed"):
        log.topic(TWO).close() or log.topic(ONE).close() or add_to_closed(log)


def add_to_closed(log):
    topic = log.topic(THREE)
    log.drop(THREE)
    topic.append([b"x"])


def test_an_heir_forgets_what_dropped_channels_left():
    owners = Owners(gaps=False)
    log = owners.log()
    add(log, ONE, b"1", b"2")
    two = add(log, TWO, b"a")
    owners.checkpoints[ONE] = None
    heir = owners.log()
    owners.truncate(heir, TWO, two[-1] + 1)
    assert owners.kept <= 1


def test_groups_hold_back_only_what_their_channel_has():
    owners = Owners(gaps=False)
    log = owners.log()
    one = add(log, ONE, b"1", b"2", b"3")
    two = add(log, TWO, b"a", b"b")
    group = log.topic(ONE).group("feed")
    assert [bytes(r.payload) for r in group.poll(2)] == [b"1", b"2"]
    group.acknowledge(one[0])
    owners.truncate(log, ONE, one[-1] + 1)
    owners.truncate(log, TWO, two[-1] + 1)
    assert [bytes(r.payload) for r in log.topic(ONE).group("feed").poll()] == [b"3"]
    again = owners.log()
    assert again.topic(ONE).groups() == ["feed"]
    assert again.topic(TWO).groups() == []
    resumed = again.topic(ONE).group("feed")
    assert [bytes(r.payload) for r in resumed.poll()] == [b"2", b"3"]
    resumed.acknowledge(one[-1])
    assert resumed.acknowledged == one[-1] + 1
    again.topic(ONE).drop_group("feed")
    again.topic(TWO).group("late", LATEST)
    assert owners.kept <= 1


def test_a_group_of_a_channel_that_came_late_stands_where_it_was_asked_for():
    owners = Owners(gaps=False)
    log = owners.log()
    two = add(log, TWO, b"a", b"b")
    owners.truncate(log, TWO, two[-1] + 1)
    assert log.topic(ONE).start > 0
    assert log.topic(ONE).group("feed", 0).acknowledged == 0, "of this channel nothing was ever forgotten"
    assert log.topic(ONE).group("other").acknowledged == 0
    one = add(log, ONE, b"1", b"2")
    owners.truncate(log, ONE, one[-1] + 1)
    assert texts(log, ONE) == [b"1", b"2"]
    assert log.topic(TWO).group("feed", 0).acknowledged == two[-1] + 1, "what is behind it is gone"
    assert log.topic(ONE).group("newest", LATEST).acknowledged == log.topic(ONE).end


def test_replaying_all_channels_reads_the_physical_one_once_when_memory_suffices():
    owners = Owners()
    log = owners.log()
    names = [f"{PHYSICAL}_{number}v0" for number in range(20)]
    for round_ in range(5):
        for name in names:
            add(log, name, b"%d of " % round_ + name.encode())
    for replay_bytes, most in ((1 << 20, 1.2), (600, 8.0)):
        owners.replay_bytes = replay_bytes
        heir = owners.log()
        heir.open(PHYSICAL)
        held = heir.open(PHYSICAL)._kept
        assert sum(len(r.payload) for kept in held.values() for r in kept) <= replay_bytes
        CountingBroker.read_messages, before = 0, owners.kept
        heir = owners.log()
        for name in names:
            assert texts(heir, name) == [b"%d of " % round_ + name.encode() for round_ in range(5)]
        assert CountingBroker.read_messages <= most * (before + 1)


def test_an_effect_that_failed_stops_its_own_channel_until_it_has_read_the_log():
    log = Owners().log()
    topic, other = log.topic(ONE), log.topic(TWO)

    def fail(_: int) -> None:
        raise OSError("no room to apply this")

    failed = topic.append([b"1"], fail)
    behind = topic.append([b"2"], lambda _: pytest.fail("what was behind must not be applied"))
    with pytest.raises(OSError, match="no room"):
        failed.result()
    assert behind.exception() is not None
    with pytest.raises(TopicBehind, match="takes no writes"):
        topic.append([b"3"])
    with pytest.raises(TopicBehind, match="takes no writes"):
        log.reserve({ONE: 10})
    other.append([b"a"]).result()
    assert texts(log, ONE) == [b"1", b"2"]
    topic.resume()
    add(log, ONE, b"4")
    assert texts(log, ONE) == [b"1", b"2", b"4"]


def test_what_nobody_knows_to_be_durable_is_read_before_any_channel_writes_again():
    owners = Owners()
    log = owners.log()
    add(log, ONE, b"1")
    other = log.topic(TWO)
    owners.world.silent = 1.0  # kept, and the reply is lost
    lost = log.topic(ONE).append([b"2"])
    owners.env.tasks.run_until_idle()
    owners.world.silent = 0.0
    if lost.exception() is not None:
        assert texts(log, ONE)[0] == b"1"
        for topic in (log.topic(ONE), other):
            list(topic.read())
            topic.resume()
    add(log, ONE, b"3")
    add(log, TWO, b"a")
    assert texts(log, ONE) in ([b"1", b"3"], [b"1", b"2", b"3"])
    assert texts(owners.log(), ONE) == texts(log, ONE) if not lost.exception() else True


def test_of_two_owners_the_older_acknowledges_nothing_more():
    owners = Owners()
    old = owners.log()
    add(old, ONE, b"1")
    new = owners.log()
    add(new, TWO, b"a")
    for name in (ONE, TWO):
        with pytest.raises(MilvusException):
            add(old, name, b"stale")
    with pytest.raises(Superseded):
        old.topic(ONE).refresh()
    assert texts(new, ONE) == [b"1"]
    assert texts(new, TWO) == [b"a"]


def test_a_released_channel_is_closed_and_can_be_opened_again():
    owners = Owners()
    log = owners.log()
    topic = log.topic(ONE)
    add(log, ONE, b"1")
    log.release(PHYSICAL, abandon=True)
    with pytest.raises(NotOwner, match="does not own channel 'dml_0_101v0'"):
        topic.append([b"2"])
    assert texts(log, ONE) == [b"1"]
    log.release("dml_7")
    log.close()


def test_room_for_several_channels_of_one_physical_one_is_there_or_is_not():
    log = Owners().log()
    room = log.reserve({ONE: 100, TWO: 100})
    log.topic(ONE).append([b"x" * 90], room=room).result()
    log.topic(TWO).append([b"y" * 90], room=room).result()
    room.give_back()
    assert texts(log, TWO) == [b"y" * 90]


def test_a_reader_sees_what_the_owner_appends_when_it_looks():
    owners = Owners()
    log, reader = owners.log(), owners.log(reads=True)
    add(log, ONE, b"1")
    assert texts(reader, ONE) == [b"1"]
    add(log, ONE, b"2")
    add(log, TWO, b"a")
    reader.topic(ONE).refresh()
    assert texts(reader, ONE) == [b"1", b"2"]
    assert texts(reader, TWO) == [b"a"]


def test_names_that_are_no_channels_and_records_of_others_are_refused():
    owners = Owners()
    log = owners.log()
    with pytest.raises(InvalidParameter, match="does not name a channel"):
        log.topic("nothing")
    add(log, ONE, b"1")
    log.close()
    below = SharedLog(owners.env, MemoryBroker(owners.world, owners.env), owners.positions, lambda _: 99)
    below.topic(PHYSICAL).append([b"somebody else's"]).result()
    with pytest.raises(Corruption, match="does not belong to a channel"):
        owners.term = 200
        owners.log().open(PHYSICAL)


def test_the_log_of_one_machine_carries_channels_as_well(tmp_path):
    local = LocalLog(Env.real(), str(tmp_path))
    log = ChannelLog(local, MemoryCatalog(), lambda _: 0)
    add(log, ONE, b"1")
    add(log, TWO, b"a")
    add(log, ONE, b"2")
    log.close()
    local.close()
    local = LocalLog(Env.real(), str(tmp_path))
    log = ChannelLog(local, MemoryCatalog(), lambda _: 0)
    assert texts(log, ONE) == [b"1", b"2"]
    assert texts(log, TWO) == [b"a"]
    log.close()
    local.close()


def steps_of(seed):
    """A trace of seventy steps: mostly appends, and whatever may happen between them."""
    rng = random.Random(seed)
    kinds = rng.choices(("append", "truncate", "read", "restart", "rival", "drop"), (12, 4, 4, 2, 1, 0.2), k=70)
    return [(kind, rng.choice((ONE, TWO, THREE)), rng.randrange(101)) for kind in kinds]


@pytest.mark.parametrize("seed", range(40))
def test_channels_are_like_lists_over_restarts_truncations_and_new_owners(seed):
    steps = steps_of(seed)
    owners = Owners(seed)
    log = owners.log()
    model: dict[str, list[tuple[int, bytes]]] = {ONE: [], TWO: [], THREE: []}
    needed = dict.fromkeys(model, 0)
    dropped: set[str] = set()
    for number, (step, name, value) in enumerate(steps):
        if name in dropped:
            continue
        records = model[name]
        if step == "append":
            text = b"%d:" % number + b"x" * value
            records.append((add(log, name, text)[0], text))
        elif step == "truncate" and records:
            needed[name] = max(needed[name], records[value * len(records) // 101][0] + 1)
            owners.truncate(log, name, needed[name])
        elif step == "read":
            position = max(needed[name], records[value * len(records) // 101][0] if records else 0)
            assert texts(log, name, position) == [text for at, text in records if at >= position]
        elif step == "restart":
            owners.replay_bytes = (0, 300, 1 << 20)[value % 3]
            log.close()
            log = owners.log()
        elif step == "rival":
            rival = owners.log()
            rival.open(PHYSICAL)
            with pytest.raises(MilvusException):
                add(log, name, b"stale")
            log.release(PHYSICAL, abandon=True)
            log = rival
        elif step == "drop":
            dropped.add(name)
            owners.checkpoints[name] = None
            log.drop(name)
    for name, records in model.items():
        if name not in dropped:
            assert texts(log, name, needed[name]) == [text for at, text in records if at >= needed[name]]
    wanted = sum(at >= needed[name] for name in model if name not in dropped for at, _ in model[name])
    log.open(PHYSICAL).forget()
    if not wanted:
        assert owners.kept <= 1


@pytest.mark.parametrize("closers", [1, 2])
def test_a_channel_is_closed_only_when_what_is_being_appended_is_in_the_log(closers):
    env = Env.real()
    broker = MemoryBroker(BrokerWorld(random.Random(1), gaps=True), env)
    log = ChannelLog(SharedLog(env, broker, MemoryCatalog(), lambda _: 1), MemoryCatalog(), lambda _: 0)
    topic = log.topic(ONE)
    topic.append([b"first"]).result()
    below = log.open(PHYSICAL).below
    plain, begun, go_on = below.append, threading.Event(), threading.Event()

    def slow(*args):
        begun.set()
        assert go_on.wait(30)
        return plain(*args)

    below.append = slow
    with ThreadPoolExecutor(1 + closers) as threads:
        written = threads.submit(lambda: topic.append([b"second"]).result())
        assert begun.wait(30)

        def close_and_read():
            topic.close()
            return texts(log, ONE)

        read = [threads.submit(close_and_read) for _ in range(closers)]
        wait(read, 0.2)
        go_on.set()
        assert [found.result(30) for found in read] == [[b"first", b"second"]] * closers
        written.result(30)
    log.close()
