"""Who writes a topic of a broker learns from it that nobody else had begun to."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.storage.test_shared_log import TOPIC, Cluster, add, misbehave, texts

from redkite.errors import MilvusException, TopicClosed, Unavailable
from redkite.storage.shared_format import Judge, Session, begin_message, parse, proof_message, record_messages
from redkite.storage.shared_proofs import AGAIN_SECONDS
from redkite.storage.shared_topic import Superseded


def messages(cluster: Cluster) -> int:
    return len(cluster.world.topics[TOPIC].messages)


def test_a_writer_proves_that_it_is_the_only_one_and_nobody_reads_anything_of_that():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    add(topic, b"1")
    for _ in range(3):
        topic.prove().result()
        add(topic, b"2")
    assert texts(topic) == cluster.read() == [b"1", b"2", b"2", b"2"]
    heir = cluster.log().topic(TOPIC)
    add(heir, b"3")
    assert texts(heir) == cluster.read() == [b"1", b"2", b"2", b"2", b"3"]
    with pytest.raises(Superseded):
        topic.prove().result()


def test_what_is_asked_behind_the_beginning_of_another_is_not_proven():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    add(topic, b"1")
    cluster.world.keep(TOPIC, begin_message(Session(9, 1)))
    with pytest.raises(Superseded):
        topic.prove().result()


def test_who_asks_while_a_message_is_under_way_waits_for_the_next_one_with_all_others():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    add(topic, b"1")
    before = messages(cluster)
    first = topic.prove()
    later = [topic.prove() for _ in range(10)]
    assert later[0] is not first
    for proof in (first, *later):
        proof.result()
    assert messages(cluster) == before + 2


def test_a_message_that_comes_twice_proves_nothing_that_was_asked_later():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    add(topic, b"1")
    topic.prove().result()
    copy = cluster.world.topics[TOPIC].messages[-1][1]
    send, topic._broker.send = topic._broker.send, lambda *_: None
    asked = topic.prove()
    topic._broker.send = send
    cluster.world.keep(TOPIC, copy)
    add(topic, b"2")
    assert not asked.done()


def test_a_message_without_a_word_is_followed_by_another():
    cluster = Cluster()
    topic = cluster.log().topic(TOPIC)
    add(topic, b"1")
    broker = topic._broker
    send, broker.send = broker.send, lambda *_: None
    lost = topic.prove()
    broker.send = send
    waiting = topic.prove()
    cluster.env.tasks.run_until_idle()
    assert not (lost.done() or waiting.done())
    cluster.env.tasks.advance(AGAIN_SECONDS)
    topic.prove().result()
    assert lost.result() is waiting.result() is None


def test_without_the_broker_it_is_said_that_nothing_is_known_and_records_are_none_the_worse():
    cluster = Cluster()
    log, broker = cluster.process()
    topic = log.topic(TOPIC)
    add(topic, b"1")
    cluster.world.lost = 1.0
    with pytest.raises(Unavailable):
        topic.prove().result()
    cluster.world.lost = 0.0
    add(topic, b"2")
    broker.cut_off()
    cluster.env.tasks.run_until_idle()
    with pytest.raises(Unavailable):
        topic.prove()
    cluster.env.tasks.run_until_idle()
    topic.prove().result()
    topic.abandon()
    with pytest.raises(TopicClosed):
        topic.prove()


def test_who_begins_to_read_at_such_a_message_goes_on_with_the_records_behind_it():
    session = Session(3, 2)
    judge = Judge()
    sent = [proof_message(session, 7, 1), *record_messages(session, 8, [b"next"], 1024), proof_message(session, 8, 2)]
    assert [judge.counts(parse(message, "here")[0]) for message in sent] == [True, True, False]


@given(seed=st.integers(0, 1 << 30))
def test_whatever_fails_and_whoever_takes_over_nobody_proves_what_is_not_so(seed):
    """Each process is of a higher term than those before it. Once one has an answer from the log, none of these proves
    anything that is asked later."""
    rng, cluster = random.Random(seed), Cluster(seed)
    everybody = [cluster.process()]
    newest = 0
    proven = 0
    for _ in range(30):
        misbehave(rng, cluster, everybody)
        number = max(0, len(everybody) - rng.choice((1, 1, 2, 3)))
        topic = everybody[number][0].topic(TOPIC)
        before = newest
        try:
            if rng.random() < 0.5:
                if topic.unapplied:
                    topic.resume()
                topic.append([b"record"]).result()
            else:
                topic.prove().result()
                assert number >= before
                proven += 1
        except MilvusException:
            continue
        newest = max(newest, number)
    assert proven <= 30
