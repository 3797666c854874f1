"""A node's process: signals, and where it says that it is."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import msgspec
import pytest

from redkite.cluster.config import ClusterConfig
from redkite.config import Settings
from redkite.launch import node
from redkite.launch.node import _Ending, _metrics_port


@pytest.fixture
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Told:
    """A node that notes what is wanted of it."""

    def __init__(self) -> None:
        self.node_id = 1
        self.drains = 0
        self.presence = SimpleNamespace(drain=self._drain, wait_drained=lambda seconds: True)

    def _drain(self) -> None:
        self.drains += 1


def test_a_signal_is_taken_at_any_moment_also_while_one_is_waited_for(signals: None) -> None:
    """The handler runs in the thread that waits, between any two of its steps: it must not want what that one holds."""
    ending = _Ending(Told())  # type: ignore[arg-type]
    stuck = threading.Thread(target=_taken_within_a_wait, args=(ending,), daemon=True)
    stuck.start()
    stuck.join(20)
    assert not stuck.is_alive(), "the handler waits for the thread that it runs in"
    ending.wait()


def _taken_within_a_wait(ending: _Ending) -> None:
    for held in [value for value in vars(ending).values() if isinstance(value, threading.Event)]:
        held._cond.acquire()  # type: ignore[attr-defined]  # as within `wait`
    handler = signal.getsignal(signal.SIGTERM)
    assert callable(handler)
    handler(signal.SIGTERM, None)


@pytest.mark.parametrize(("number", "drains"), [(signal.SIGTERM, 1), (signal.SIGINT, 0)])
def test_sigterm_hands_over_and_sigint_does_not(signals: None, number: signal.Signals, drains: int) -> None:
    told = Told()
    ending = _Ending(told)  # type: ignore[arg-type]
    signal.raise_signal(number)
    ending.wait()
    assert told.drains == drains


def test_a_second_signal_ends_the_handing_over(signals: None) -> None:
    told = Told()
    asked: list[float] = []

    def never(seconds: float) -> bool:
        asked.append(seconds)
        signal.raise_signal(signal.SIGTERM)
        return False

    told.presence.wait_drained = never
    ending = _Ending(told)  # type: ignore[arg-type]
    signal.raise_signal(signal.SIGTERM)
    ending.wait()
    assert len(asked) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_metrics_port_that_is_set_is_taken_on_every_kind_of_address(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        port = probe.getsockname()[1]
    settings = msgspec.structs.replace(Settings(), host=host, metrics_port=port)
    assert _metrics_port(ClusterConfig(settings=settings)) == port


def test_the_address_of_a_host_is_told_where_etcd_is_at_an_address_of_six(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ClusterConfig(host="auto", etcd=("[::1]:2379",))
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("::1", 2379))
    except OSError:
        pytest.skip("this machine has no ::1")
    assert node.own_host(config) == "::1"
