"""Servers of other projects that run on this machine: what is kept of them, and what goes wrong with them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redkite.cluster.config import ClusterConfig
from redkite.errors import Corruption, InvalidParameter, Unavailable
from redkite.launch import brokers
from redkite.launch.brokers import Kafka
from redkite.launch.local import resolve
from redkite.launch.parts import Etcd, Part
from redkite.launch.state import State, Wanted


def test_notes_that_cannot_be_read_are_named_rather_than_other_ports_taken(tmp_path: Path) -> None:
    """Who knows the ports of before would look for it there, and its process would be forgotten."""
    part = Etcd(tmp_path)
    part.keep_ports()
    assert Etcd(tmp_path).ports == part.ports
    (tmp_path / "part.json").write_bytes(b'{"ports":[2379,')
    with pytest.raises(Corruption, match=rf"{tmp_path}/part.json cannot be read: .*remove it"):
        Etcd(tmp_path)


def test_notes_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Etcd(tmp_path)
    part.keep_ports()

    def cut_short(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", cut_short)
    with pytest.raises(OSError, match="No space"):
        part.keep_ports()
    monkeypatch.undo()
    assert Etcd(tmp_path).ports == part.ports


def test_a_part_that_does_not_say_what_it_is_cannot_be_made(tmp_path: Path) -> None:
    class Nothing(Part):
        name = "nothing"

    with pytest.raises(TypeError, match="abstract"):
        Nothing(tmp_path)  # type: ignore[abstract]


@pytest.mark.parametrize(
    "failure", [subprocess.TimeoutExpired("java", 90), FileNotFoundError(2, "No such file or directory", "java")]
)
def test_a_broker_whose_folder_cannot_be_formatted_says_so(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise failure

    (tmp_path / "jars").mkdir()
    monkeypatch.setattr(brokers.subprocess, "run", fails)
    with pytest.raises(Unavailable, match=f"Kafka's folder {tmp_path} could not be formatted: "):
        Kafka(tmp_path, tmp_path / "jars").prepare()


# -- a whole cluster that is brought up again ----------------------------------------------------
def had(folder: Path, log: str, objects: str, /, **given: str) -> State:
    """A cluster that was brought up, with these parts."""
    state = State(folder)
    config, parts = resolve(state, msgspec.structs.replace(ClusterConfig(), **given), frozenset(given), log, objects)
    state.make()
    state.write_config(config)
    state.change(lambda _: Wanted(parts=parts))
    return state


@pytest.fixture(autouse=True)
def _nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.launch.parts.S3Gateway.missing", lambda _: [])
    monkeypatch.setattr("redkite.launch.parts.Etcd.missing", lambda _: [])
    monkeypatch.setattr("redkite.launch.brokers.JavaPart.missing", lambda _: [])


def test_a_cluster_that_is_brought_up_again_has_its_objects_where_they_were(tmp_path: Path) -> None:
    """Also where other keys are set: the folder of its state is one."""
    state = had(tmp_path, "pulsar", "s3")
    config, parts = resolve(state, ClusterConfig(), frozenset({"state", "query"}), "", "")
    assert parts == ("etcd", "pulsar", "s3")
    assert config.objects.startswith("s3://")


def test_what_the_config_named_before_is_not_replaced_by_a_part_that_is_empty(tmp_path: Path) -> None:
    state = had(tmp_path, "", "", log="kafka://other:9092")
    with pytest.raises(
        InvalidParameter, match=r"log is kafka://other:9092 in the cluster of .*: say --set log=kafka://"
    ):
        resolve(state, ClusterConfig(), frozenset({"state"}), "", "")
    named = ClusterConfig(log="kafka://other:9092")
    assert resolve(state, named, frozenset({"state", "log"}), "", "")[0].log == named.log


def test_a_first_cluster_keeps_its_objects_in_a_folder(tmp_path: Path) -> None:
    _, parts = resolve(State(tmp_path), ClusterConfig(), frozenset({"state"}), "", "")
    assert parts == ("etcd", "kafka", "objects")


@pytest.mark.parametrize(
    ("log", "objects", "message"),
    [
        ("kafka", "", "--log kafka: the log of this cluster is in pulsar"),
        ("", "folder", "--objects folder: the objects of this cluster are in s3"),
    ],
)
def test_data_is_not_left_behind_for_another_part(log: str, objects: str, message: str, tmp_path: Path) -> None:
    state = had(tmp_path, "pulsar", "s3")
    with pytest.raises(InvalidParameter, match=message):
        resolve(state, ClusterConfig(), frozenset({"state"}), log, objects)
    assert resolve(state, ClusterConfig(), frozenset(), "pulsar", "s3")[1] == ("etcd", "pulsar", "s3")
