"""Connecting to what a cluster stands on: what is missing or wrong is said at the start, by name."""

from __future__ import annotations

import re

import pytest
from tests.brokers import etcd_server, free_ports

from redkite.cluster import backends as backends_module
from redkite.cluster.backends import MemoryWorld, etcd_settings, open_backends
from redkite.cluster.config import ClusterConfig
from redkite.cluster.membership import Membership, take_node_id
from redkite.env import Env
from redkite.errors import InvalidParameter, StorageError, Unavailable
from redkite.simulated import simulated_env
from redkite.storage.memory_broker import BrokerWorld, MemoryBroker


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    with etcd_server(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture
def env():
    return Env.real()


@pytest.fixture
def no_broker(monkeypatch, env):
    """The log is in memory: these tests are about the others."""
    import random

    monkeypatch.setattr(backends_module, "_broker", lambda *_: MemoryBroker(BrokerWorld(random.Random(1)), env))


def config(**more):
    return ClusterConfig(**{"etcd": ("127.0.0.1:1",), "objects": "/nowhere", **more})


def test_nodes_of_one_config_share_everything(etcd, env, no_broker, tmp_path):
    shared = config(etcd=(etcd.endpoint,), objects=str(tmp_path / "objects"), name="shared")
    one, two = (open_backends(shared, env, name) for name in ("one", "two"))
    assert take_node_id(one.catalog()) == 1
    assert take_node_id(two.catalog()) == 2
    members = Membership(one.coordination, env, 1, 2.0)
    members.register("query", "h:1")
    assert [key for key in two.coordination.present("nodes/")] == ["nodes/1"]  # noqa: C416
    one.objects().put("a/b", [b"1"])
    assert two.objects().get("a/b") == b"1"
    two.objects().put("a/c", [b"2"])
    assert one.objects().list("a/") == ["a/b", "a/c"]
    assert one.health() == ()
    members.close()
    other = open_backends(config(etcd=(etcd.endpoint,), objects=str(tmp_path), name="other"), env)
    assert take_node_id(other.catalog()) == 1
    for each in (one, two, other):
        each.close()


def test_etcd_that_is_not_there_is_named(env, no_broker, tmp_path, monkeypatch):
    monkeypatch.setattr(backends_module, "_ETCD_SECONDS", 0.5)
    (port,) = free_ports(1)
    with pytest.raises(Unavailable, match=rf"etcd at 127\.0\.0\.1:{port} cannot be reached"):
        open_backends(config(etcd=(f"127.0.0.1:{port}",), objects=str(tmp_path)), env)


def test_a_broker_that_is_not_there_is_named(etcd, env, tmp_path, monkeypatch):
    pytest.importorskip("confluent_kafka")
    from redkite.storage import kafka

    made = kafka.KafkaSettings
    monkeypatch.setattr(kafka, "KafkaSettings", lambda **given: made(**given, timeout_seconds=1.0))
    (port,) = free_ports(1)
    with pytest.raises((Unavailable, StorageError), match=rf"the log at kafka://127\.0\.0\.1:{port} cannot be"):
        open_backends(config(etcd=(etcd.endpoint,), log=f"kafka://127.0.0.1:{port}", objects=str(tmp_path)), env)


def test_a_store_that_cannot_be_used_is_named(etcd, env, no_broker, tmp_path):
    (tmp_path / "file").write_text("")
    place = str(tmp_path / "file" / "objects")
    with pytest.raises((StorageError, InvalidParameter), match=re.escape(place)):
        open_backends(config(etcd=(etcd.endpoint,), objects=place), env)
    pytest.importorskip("obstore")
    with pytest.raises(InvalidParameter, match="ftp://x"):
        open_backends(config(etcd=(etcd.endpoint,), objects="ftp://x"), env)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"log": "redis://x"}, "expected kafka://"),
        ({"log": "kafka://x"}, "expected host:port"),
        ({"log": "pulsar://h:6650", "log_options": {"colour": "red"}}, "unknown option colour, known are admin_url"),
        ({"etcd": ("nowhere",)}, "host:port"),
        ({"etcd_password": "x"}, "a password without a user"),
        ({"etcd_certificate": "x.pem"}, "together or not at all"),
    ],
)
def test_a_config_that_cannot_be_is_refused(etcd, env, tmp_path, wrong, text):
    with pytest.raises(InvalidParameter, match=text):
        open_backends(config(**{"etcd": (etcd.endpoint,), "objects": str(tmp_path), **wrong}), env)


def test_keys_of_a_cluster_begin_with_its_name_and_secrets_are_not_shown():
    settings = etcd_settings(config(name="mine", etcd_user="me", etcd_password="very secret"))
    assert settings.root == "mine/"
    assert "secret" not in repr(settings)


def test_health_says_what_does_not_answer():
    env = simulated_env(1)
    world = MemoryWorld(env)
    backends = world.backends(env, "a")
    assert backends.health() == ()
    world.log.down = True
    assert backends.health() == ("the log: the broker does not answer",)
    backends.cut()
    assert backends.health() == ("etcd: etcd does not answer", "the log: the broker does not answer")
    backends.close()
    world.close()
