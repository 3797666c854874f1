"""`redkite cluster …` as it is written, on runtimes and parts that a test has made."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.launch.fakes import FakeRuntime

from redkite import cli
from redkite.cluster.config import ClusterConfig, encode
from redkite.errors import Unavailable
from redkite.launch import commands, local
from redkite.launch.brokers import Kafka
from redkite.launch.local import resolve
from redkite.launch.parts import Etcd, FolderObjects, free_ports
from redkite.launch.state import Runs, State, Wanted


def written(folder: Path, text: str, name: str = "cluster.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(["cluster", *words])
    out, err = capsys.readouterr()
    return status, out, err


class NeedyPart(FolderObjects):
    """A part that this machine does not have."""

    name = "Kafka"

    def missing(self) -> list[str]:
        return ["Kafka needs Java 17: apt install java"]

    @property
    def is_running(self) -> bool:
        return False


def test_a_right_config_is_shown_with_where_each_value_is_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "query = 5\n")
    status, out, _ = run(capsys, "config", "--config", path)
    assert status == 0
    assert f"file {path}" in next(line for line in out.splitlines() if line.startswith("query "))
    assert run(capsys, "config", "--config", path, "--check") == (0, f"{path} is right\n", "")


def test_every_mistake_is_told_with_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "query = 0\nlog = 'x'\n")
    status, out, _ = run(capsys, "config", "--config", path, "--check")
    assert status == 3
    assert len(out.splitlines()) == 2


@pytest.mark.parametrize("action", ["config --check --reach", "up --runtime processes"])
def test_parts_that_cannot_be_reached_are_told_at_once(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable("it does not answer")

    monkeypatch.setattr("redkite.cluster.backends._ETCD_SECONDS", 0.3)
    monkeypatch.setattr("redkite.cluster.backends._answering_broker", away)
    monkeypatch.setattr("redkite.storage.remote_objects.RemoteObjects.list", away)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    path = written(tmp_path, f"etcd = ['127.0.0.1:{free_ports(1)[0]}']\nobjects = 's3://b?endpoint=http://h:1'\n")
    status, _, err = run(capsys, *action.split(), "--config", path)
    assert status == 1
    etcd, broker, objects = err.splitlines()
    assert etcd.startswith("redkite: etcd at 127.0.0.1:")
    assert broker == "redkite: it does not answer"
    assert objects.startswith(
        "redkite: the objects at s3://b?endpoint=http://h:1 cannot be reached: it does not answer ("
    )
    assert "AWS_ACCESS_KEY_ID" in objects


@pytest.mark.parametrize("action", ["status", "scale query=2", "restart --rolling", "down", "drain 3"])
def test_without_a_cluster_every_command_says_how_to_name_one(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, *action.split(), "--state", str(tmp_path))
    assert status == 1
    assert f"no cluster was brought up from {tmp_path}: name its config with --config" in err


def test_what_is_missing_is_named_whole_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "part_named", lambda _, folder: NeedyPart(folder))
    status, _, err = run(capsys, "up", "--local", "--state", str(tmp_path / "state"))
    assert status == 1
    assert "this machine cannot run the parts of a cluster yet" in err
    assert "apt install java" in err
    assert not (tmp_path / "state" / "cluster.json").exists()


def test_parts_that_the_config_names_are_used_and_not_started(tmp_path: Path) -> None:
    config = ClusterConfig(etcd=("other:1",), log="kafka://other:2")
    found, parts = resolve(State(tmp_path), config, {"etcd", "log"}, "", "folder")
    assert parts == ("objects",)
    assert (found.etcd, found.log) == (config.etcd, config.log)
    assert found.objects == str(tmp_path / "parts" / "objects")


def brought_up(folder: Path, *changes: str, config: str = "") -> tuple[ClusterConfig, tuple[str, ...]]:
    """The config that `up --local` writes, and its parts."""
    parsed = argparse.Namespace(
        changes=changes, state=str(folder), config=config, port=None, local=True, log="", objects=""
    )
    state, found, parts = commands._resolved(parsed, ray_head=False)
    state.make()
    state.write_config(found)
    state.change(lambda _: Wanted(parts=parts))
    return found, parts


def test_a_cluster_that_is_brought_up_again_is_as_it_was_but_for_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Etcd, "missing", lambda _: [])
    monkeypatch.setattr(Kafka, "missing", lambda _: [])
    folder = tmp_path / "state"
    first, _ = brought_up(folder, "query=3", "pchannels=2", "name=shop")
    again, parts = brought_up(folder, "streaming=4")
    assert again == msgspec.structs.replace(first, streaming=4)
    assert parts == ("etcd", "kafka", "objects")
    monkeypatch.setenv("REDKITE_CLUSTER_QUERY", "5")
    monkeypatch.setenv("REDKITE_SEAL_ROWS", "1234")
    once_more, _ = brought_up(folder)
    assert (once_more.query, once_more.streaming, once_more.settings.seal_rows) == (5, 4, 1234)
    named = written(tmp_path, f"data = 7\netcd = ['{first.etcd[0]}']\n")
    with_file, _ = brought_up(folder, config=named)
    assert (with_file.data, with_file.query, with_file.pchannels) == (7, 5, ClusterConfig().pchannels)


def test_the_parts_of_a_folder_keep_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Etcd, "missing", lambda _: [])
    first, _ = resolve(State(tmp_path), ClusterConfig(), {"log", "objects"}, "", "folder")
    again, _ = resolve(State(tmp_path), ClusterConfig(), {"log", "objects"}, "", "folder")
    assert first.etcd == again.etcd != ClusterConfig().etcd


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--port", "99999", "--local"), "--port 99999: expected 1 to 65535"),
        (("--set", "query", "--local"), "--set query: expected KEY=VALUE"),
        (("--set", "querry=3", "--local"), "did you mean query?"),
        (("--log", "pulsar"), "--log goes with --local"),
        (("--objects", "s3"), "--objects goes with --local"),
        (("--runtime", "processes", "--ray-address", "auto"), "--ray-address goes with --runtime ray"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, "up", "--state", str(tmp_path), *words)
    assert status == 1
    assert message in err


def test_certificates_that_are_not_there_are_told_before_anything_is_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "[tls]\nca = '/none/ca.pem'\ncertificate = '/none/a.pem'\nkey = '/none/a.key'\n")
    status, _, err = run(capsys, "config", "--config", path, "--reach")
    assert status == 1
    assert "/none/" in err


@pytest.mark.parametrize("seconds", ["-1", "0", "nan"])
def test_a_node_is_given_time_to_hand_over(seconds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "drain", "3", "--seconds", seconds, "--state", str(tmp_path))
    assert status == 1
    assert f"--seconds {seconds}: expected a positive number" in err


def test_a_cluster_whose_nodes_others_start_is_not_scaled_from_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, f"state = '{tmp_path}/state'\n")
    status, _, err = run(capsys, "scale", "query=2", "--config", path)
    assert status == 1
    assert "systemctl start redkite@query" in err


def test_data_is_deleted_only_where_a_cluster_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious").write_text("x")
    path = written(tmp_path, f"state = '{tmp_path}'\n")
    status, _, err = run(capsys, "down", "--delete-data", "--config", path)
    assert status == 1
    assert "is no state folder of a cluster" in err
    assert (tmp_path / "precious").exists()


def test_down_ends_what_runs_the_nodes_and_may_delete_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FakeRuntime()
    monkeypatch.setattr(commands, "_runtime", lambda *_: runtime)
    state = State(tmp_path / "state")
    state.make()
    state.write_config(ClusterConfig(state=str(state.folder)))
    state.write_runs(Runs(kind="ray", ray_address="host:1"))
    status, out, _ = run(capsys, "down", "--delete-data", "--state", str(state.folder))
    assert status == 0
    assert runtime.ended
    assert not state.folder.exists()
    assert "cluster 'redkite' has ended" in out


def test_status_without_etcd_shows_what_the_supervisor_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redkite.launch.status.ASK_SECONDS", 0.3)
    state = State(tmp_path)
    state.make()
    state.write_config(ClusterConfig(etcd=(f"127.0.0.1:{free_ports(1)[0]}",)))
    status, _, err = run(capsys, "status", "--state", str(tmp_path))
    assert status == 1
    assert "cannot be reached" in err


@pytest.mark.parametrize("action", ["status", "scale query=2", "restart --rolling", "drain 3"])
def test_a_cluster_whose_processes_have_ended_is_said_to_have(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redkite.launch.status.ASK_SECONDS", 0.1)
    state = State(tmp_path)
    state.make()
    state.write_config(ClusterConfig(etcd=(f"127.0.0.1:{free_ports(1)[0]}",)))
    state.write_runs(Runs(kind="processes"))
    status, _, err = run(capsys, *action.split(), "--state", str(tmp_path))
    assert status == 1
    assert f"the processes of {tmp_path} have ended: `redkite cluster up --local` brings them up again" in err


def test_a_node_reads_the_config_that_the_command_has_written(tmp_path: Path) -> None:
    config = ClusterConfig(name="shop", query=7)
    path = tmp_path / "cluster.json"
    path.write_bytes(encode(config))
    assert commands._read(str(path)) == config


def test_a_node_that_cannot_join_ends_with_one_line_and_status_1(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    path = written(tmp_path, f"etcd = ['127.0.0.1:{port}']\nstate = '{tmp_path}'\nobjects = '{tmp_path}'\n")
    line = [sys.executable, "-m", "redkite", "cluster", "node", "--role", "query", "--config", path]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"redkite: etcd at 127.0.0.1:{port} cannot be reached")
    assert len(done.stderr.splitlines()) == 1


def test_etcd_is_started_found_again_paused_and_stopped(tmp_path: Path) -> None:
    part = Etcd(tmp_path / "etcd")
    if part.missing():
        pytest.skip(part.missing()[0])
    part.start()
    try:
        again = Etcd(tmp_path / "etcd")
        assert again.is_running
        assert again.is_ready()
        assert (again.endpoint, again.process) == (part.endpoint, part.process)
        again.pause()
        again.go_on()
    finally:
        part.stop()
    assert not part.is_running
    assert part.process is not None
    assert not part.process.tell(signal.SIGTERM)


def test_a_folder_is_a_store_that_is_always_there(tmp_path: Path) -> None:
    part = FolderObjects(tmp_path / "objects")
    part.start()
    assert part.is_running
    assert part.settings == {"objects": str(tmp_path / "objects")}


def test_a_resolved_config_keeps_the_settings_of_the_engine() -> None:
    config = ClusterConfig()
    changed = msgspec.structs.replace(config, settings=msgspec.structs.replace(config.settings, seal_rows=5))
    assert changed.settings.seal_rows == 5
