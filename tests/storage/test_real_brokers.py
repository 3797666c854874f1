"""The log in a real Kafka and a real Pulsar."""

from __future__ import annotations

import threading
import time

import pytest
from tests.brokers import KafkaServer, PulsarServer, free_ports, running

from redkite.env import Env
from redkite.errors import InvalidParameter, MilvusException, StorageError, Unavailable
from redkite.storage.catalog import MemoryCatalog
from redkite.storage.kafka import KafkaBroker, KafkaSettings
from redkite.storage.pulsar import PulsarBroker, PulsarSettings
from redkite.storage.shared_log import SharedLog, SharedLogSettings
from redkite.storage.shared_topic import Superseded

SERVERS = {"kafka": (KafkaServer, "confluent_kafka"), "pulsar": (PulsarServer, "pulsar")}


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    with running(*SERVERS[request.param], tmp_path_factory.mktemp(request.param)) as server:
        yield server


def broker_of(server, prefix="redkite-", **settings):
    if isinstance(server, KafkaServer):
        return KafkaBroker(KafkaSettings(servers=(server.server,), prefix=prefix, **settings), Env.real())
    return PulsarBroker(
        PulsarSettings(url=server.url, admin_url=server.admin_url, prefix=prefix, **settings), Env.real()
    )


@pytest.fixture
def processes(server, request):
    """Makes logs of processes with terms of their own."""
    opened, positions = [], MemoryCatalog()

    def process(term: int | None, **settings):
        broker = broker_of(server, f"{request.node.originalname[:60]}-", **settings)
        term_of = None if term is None else lambda _: term
        log = SharedLog(Env.real(), broker, positions, term_of, SharedLogSettings())
        opened.extend((log.close, broker.close))
        return log

    yield process
    for close in opened:
        close()


def add(topic, *texts):
    return [topic.append([text]).result(60) for text in texts]


def texts(topic, position=0):
    return [bytes(record.payload) for record in topic.read(position)]


def test_records_of_any_length_are_read_back_by_everybody(processes):
    topic = processes(1, message_bytes=100_000).topic("by-dev_1:2")
    written = [b"", b"short", bytes(99_999), b"z" * 3_000_000]
    positions = add(topic, *written)
    other = processes(None)
    assert other.topics() == ["by-dev_1:2"]
    for reader in (topic, other.topic("by-dev_1:2")):
        assert texts(reader) == written
        assert texts(reader, positions[1] + 1) == written[2:]


def test_appends_of_many_threads_are_all_there_once(processes):
    log = processes(1)
    applied = {name: [] for name in ("a", "b", "c")}

    def write(name, number):
        topic = log.topic(name)
        futures = [topic.append([b"%d:%d" % (number, at)], applied[name].append) for at in range(100)]
        for future in futures:
            future.result(60)

    threads = [threading.Thread(target=write, args=(name, number)) for name in applied for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {b"%d:%d" % (number, at) for number in range(4) for at in range(100)}
    for name, positions in applied.items():
        kept = texts(log.topic(name))
        assert set(kept) == expected
        assert len(kept) == 400
        assert positions == sorted(positions)


def test_whoever_comes_with_a_higher_term_shuts_out_the_one_before(processes):
    old, new = processes(1).topic("t"), processes(2).topic("t")
    add(old, b"1")
    assert texts(new) == [b"1"]
    add(new, b"2")
    with pytest.raises((Superseded, Unavailable)):
        add(old, b"3")
    with pytest.raises(Superseded):
        add(old, b"4")
    assert texts(new) == [b"1", b"2"]


def test_what_was_truncated_is_gone_and_a_group_keeps_what_it_wants(processes):
    log = processes(1)
    topic = log.topic("t")
    positions = add(topic, b"1", b"2", b"3")
    group = topic.group("g")
    topic.truncate(topic.end)
    assert [bytes(record.payload) for record in group.poll()] == [b"1", b"2", b"3"]
    group.acknowledge(positions[1])
    assert topic.start == positions[1] + 1
    assert texts(processes(2).topic("t")) == [b"3"]
    log.drop("t")
    deadline = time.monotonic() + 120
    while log.topics() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert log.topics() == []


@pytest.mark.parametrize("kind", SERVERS)
def test_a_broker_that_is_killed_loses_nothing_that_was_acknowledged(kind, tmp_path):
    with running(*SERVERS[kind], tmp_path) as server:
        env, positions = Env.real(), MemoryCatalog()
        broker = broker_of(server, timeout_seconds=3)
        log = SharedLog(env, broker, positions, lambda _: 1, SharedLogSettings(patience_seconds=5))
        topic, acknowledged, stop = log.topic("t"), [], threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                number += 1
                data = b"%d" % number
                try:
                    if topic.unapplied:
                        list(topic.read())
                        topic.resume()
                    topic.append([data], lambda _, data=data: acknowledged.append(data)).result(60)
                except MilvusException:
                    time.sleep(0.05)

        thread = threading.Thread(target=write)
        thread.start()
        for _ in range(2):
            count = len(acknowledged)
            deadline = time.monotonic() + 120
            while len(acknowledged) < count + 50 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert len(acknowledged) >= count + 50
            server.kill()
            time.sleep(0.5)
            server.start()
        stop.set()
        thread.join(120)
        assert not thread.is_alive()
        log.close()
        broker.close()
        broker = broker_of(server)
        heir = SharedLog(env, broker, positions, lambda _: 2, SharedLogSettings())
        kept = texts(heir.topic("t"))
        assert len(set(kept)) == len(kept)
        assert [data for data in kept if data in set(acknowledged)] == acknowledged
        heir.close()
        broker.close()


@pytest.mark.parametrize("kind", SERVERS)
def test_nobody_there_is_told_in_time(kind):
    pytest.importorskip(SERVERS[kind][1])
    (nobody,) = free_ports(1)
    if kind == "kafka":
        broker = KafkaBroker(KafkaSettings(servers=(f"127.0.0.1:{nobody}",), timeout_seconds=1), Env.real())
    else:
        urls = {"url": f"pulsar://127.0.0.1:{nobody}", "admin_url": f"http://127.0.0.1:{nobody}"}
        broker = PulsarBroker(PulsarSettings(**urls, timeout_seconds=1), Env.real())
    began = time.monotonic()
    for ask in (broker.topics, lambda: broker.create("t"), lambda: broker.send("t", b"", lambda _: None)):
        if kind == "kafka" and ask is not broker.topics:
            continue  # it is told when a message was not delivered
        with pytest.raises(Unavailable, match=kind.capitalize()):
            ask()
    assert time.monotonic() - began < 30
    broker.close()


@pytest.mark.parametrize(
    ("settings", "wrong", "named"),
    [
        (KafkaSettings, {"servers": ("localhost",)}, "host:port"),
        (KafkaSettings, {"replicas": 0}, "replicas"),
        (KafkaSettings, {"prefix": "a b"}, "prefix"),
        (PulsarSettings, {"url": "http://localhost:6650"}, "pulsar://host:port"),
        (PulsarSettings, {"admin_url": "localhost:8080"}, "http://host:port"),
        (PulsarSettings, {"namespace": "public"}, "tenant/namespace"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, wrong, named):
    with pytest.raises(InvalidParameter, match=named):
        settings(**wrong)


def test_secrets_are_not_shown():
    assert "hidden" not in repr(KafkaSettings(options={"sasl.password": "hidden"}))
    assert "hidden" not in repr(PulsarSettings(token="hidden"))


def test_an_option_that_librdkafka_does_not_know_is_refused_by_name():
    pytest.importorskip("confluent_kafka")
    with pytest.raises(StorageError, match=r"no\.such\.option"):
        KafkaBroker(KafkaSettings(options={"no.such.option": "1"}), Env.real())
