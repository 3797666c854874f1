"""The supervisor of one machine: with processes that are real, and do nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from redkite.cluster.config import ClusterConfig, Role
from redkite.errors import Corruption, Unavailable
from redkite.launch import supervisor
from redkite.launch.child import ProcessId, start
from redkite.launch.facts import NodeFacts
from redkite.launch.local_runtime import LocalRuntime
from redkite.launch.parts import RayHead, Server
from redkite.launch.state import State, Wanted
from redkite.launch.supervisor import Supervisor, supervise

SLEEPER = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('handed over', flush=True), sys.exit(0)))\n"
    "print('here', flush=True)\n"
    "time.sleep(60)"
)


class Machine:
    """A state folder and a supervisor, whose nodes are processes that sleep."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        self.state.make()
        self.state.write_config(ClusterConfig())
        self.started: list[tuple[str, ProcessId]] = []
        self.command = (sys.executable, "-c", SLEEPER)
        self.now = 1_000_000
        self.supervisor = self.another()

    def another(self) -> Supervisor:
        return Supervisor(self.state, self.launch, lambda: self.now)

    def launch(self, name: str, _role: Role) -> ProcessId:
        process = start(self.command, self.state.log(name))
        self.started.append((name, process))
        return process

    def want(self, **nodes: Role) -> None:
        named: dict[str, Role] = {name.replace("_", "-"): role for name, role in nodes.items()}
        self.state.change(lambda wanted: msgspec.structs.replace(wanted, nodes=named))

    def report(self, name: str, node_id: int) -> None:
        facts = NodeFacts(
            node_id=node_id, role="query", version="1", address="a:1", pid=1, host="h", started_ms=1, clock_ms=1,
            resident_bytes=1, health=(),
        )  # fmt: skip
        self.state.report(name).write_bytes(msgspec.json.encode(facts))

    def until(self, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not there():
            assert time.monotonic() < deadline, self.state.present()
            self.supervisor.round()
            time.sleep(0.01)

    def stage(self, name: str) -> str:
        watched = self.state.present().nodes.get(name)
        return "" if watched is None else watched.placed.stage


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "state")
    yield made
    for _, process in made.started:
        process.kill()


def test_what_is_wanted_is_started_and_ready_when_it_says_so(machine: Machine) -> None:
    machine.want(query_1="query")
    machine.supervisor.round()
    assert machine.stage("query-1") == "starting"
    machine.report("query-1", 7)
    machine.until(lambda: machine.stage("query-1") == "ready")
    assert machine.state.present().nodes["query-1"].placed.node_id == 7


def test_a_node_that_is_killed_is_started_again(machine: Machine) -> None:
    machine.want(query_1="query")
    machine.supervisor.round()
    machine.report("query-1", 7)
    machine.until(lambda: machine.stage("query-1") == "ready")
    machine.started[0][1].kill()
    machine.until(lambda: len(machine.started) == 2)
    assert machine.stage("query-1") == "starting"
    assert not machine.state.report("query-1").exists()


def test_one_that_ends_again_and_again_is_started_more_and_more_rarely(machine: Machine) -> None:
    machine.command = (sys.executable, "-c", "print('no key for me'); raise SystemExit(1)")
    machine.want(query_1="query")
    for expected in (1, 2, 3):
        machine.until(lambda expected=expected: len(machine.started) == expected)  # type: ignore[misc]
        assert machine.started[-1][1].wait(30)
        machine.supervisor.round()
        machine.supervisor.round()
        machine.now += 60 if expected == 1 else 1000
    assert machine.state.present().nodes["query-1"].placed.error == "no key for me"


def test_what_is_not_wanted_any_more_hands_over_and_is_forgotten(machine: Machine) -> None:
    machine.want(query_1="query")
    machine.supervisor.round()
    machine.until(lambda: b"here" in machine.state.log("query-1").read_bytes())
    machine.want()
    machine.until(lambda: machine.stage("query-1") == "")
    assert b"handed over" in machine.state.log("query-1").read_bytes()


def test_one_that_does_not_end_is_killed_after_its_time(machine: Machine) -> None:
    machine.command = (sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print('here', "
                       "flush=True); time.sleep(60)")  # fmt: skip
    machine.want(query_1="query")
    machine.supervisor.round()
    machine.until(lambda: b"here" in machine.state.log("query-1").read_bytes())
    machine.want()
    machine.supervisor.round()
    assert machine.stage("query-1") == "leaving"
    machine.now += 1_000_000
    machine.until(lambda: machine.stage("query-1") == "")
    assert not machine.started[0][1].is_alive


def test_the_next_supervisor_takes_over_what_the_one_before_has_started(machine: Machine) -> None:
    machine.want(query_1="query")
    machine.supervisor.round()
    machine.supervisor = machine.another()
    machine.report("query-1", 7)
    machine.until(lambda: machine.stage("query-1") == "ready")
    assert len(machine.started) == 1


class Killed(BaseException):
    """The process ends here."""


def test_a_node_is_noted_as_soon_as_it_is_started(machine: Machine) -> None:
    """A supervisor may be killed at any moment, and the next one must not start a second node in a place."""
    machine.want(query_1="query", query_2="query")
    launch = machine.launch

    def killed(name: str, role: Role) -> ProcessId:
        if machine.started:
            raise Killed
        return launch(name, role)

    machine.supervisor._launch = killed
    with pytest.raises(Killed):
        machine.supervisor.round()
    machine.supervisor = machine.another()
    machine.supervisor.round()
    assert sorted(name for name, _ in machine.started) == ["query-1", "query-2"]


def test_a_full_disk_is_said_once_and_is_not_the_end(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine.want(query_1="query")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(State, "write_present", full)
    assert machine.supervisor.look()
    assert machine.supervisor.look()
    said = [record.getMessage() for record in caplog.records if "No space left" in record.getMessage()]
    assert said == [f"{machine.state.folder} cannot be kept: No space left on device"]
    monkeypatch.undo()
    assert machine.supervisor.look()
    assert [name for name, _ in machine.started] == ["query-1"]
    assert machine.stage("query-1") == "starting"


def test_a_part_whose_notes_cannot_be_read_is_a_fault_and_not_the_end(machine: Machine) -> None:
    machine.state.change(lambda _: Wanted(parts=("etcd",), nodes={"query-1": "query"}))
    machine.state.part("etcd").mkdir()
    (machine.state.part("etcd") / "part.json").write_text("{")
    assert machine.supervisor.round()
    assert "part.json cannot be read" in machine.state.present().parts["etcd"]
    assert machine.started == []


def test_a_process_that_got_the_id_of_another_is_not_taken_for_it() -> None:
    me = ProcessId(os.getpid(), 1)
    assert not me.is_alive
    assert not me.tell(signal.SIGKILL)


def test_when_all_is_to_end_everything_ends_without_being_handed_over(machine: Machine) -> None:
    machine.want(query_1="query", proxy_1="proxy")
    machine.supervisor.round()
    machine.until(lambda: b"here" in machine.state.log("query-1").read_bytes())
    machine.state.change(lambda wanted: msgspec.structs.replace(wanted, nodes={}, ending=True))
    assert not machine.supervisor.round()
    assert not any(process.is_alive for _, process in machine.started)
    assert machine.state.present().nodes == {}
    assert b"handed over" not in machine.state.log("query-1").read_bytes()


def test_one_supervisor_at_a_time_looks_after_a_folder(machine: Machine) -> None:
    with machine.state.supervising() as mine:
        assert mine
        assert supervise(machine.state, threading.Event()) == 1


def test_a_supervisor_ends_when_it_is_told_and_leaves_the_nodes(machine: Machine) -> None:
    stop = threading.Event()
    machine.want()
    looking = threading.Thread(target=supervise, args=(machine.state, stop))
    looking.start()
    deadline = time.monotonic() + 120
    while not machine.state.is_supervised and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    looking.join(60)
    assert not looking.is_alive()


def test_where_nobody_looks_after_the_nodes_it_is_said(machine: Machine) -> None:
    with pytest.raises(Unavailable, match=r"nobody looks after the cluster of .*`redkite cluster up`"):
        LocalRuntime(machine.state).placed()


def test_a_node_that_died_with_its_supervisor_is_not_ready_before_the_next_one_has_looked(machine: Machine) -> None:
    machine.want(query_1="query")
    machine.supervisor.round()
    machine.report("query-1", 7)
    machine.until(lambda: machine.stage("query-1") == "ready")
    machine.started[0][1].kill()
    machine.another().begin()  # it notes what it was left before it looks
    (placed,) = LocalRuntime(machine.state).placed().values()
    assert (placed.stage, placed.error) == ("starting", "it has ended")


def test_several_commands_change_what_is_wanted_without_losing_each_others_changes(machine: Machine) -> None:
    runtime = LocalRuntime(machine.state)
    threads = [threading.Thread(target=runtime.start, args=(f"query-{n}", "query")) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(machine.state.wanted().nodes) == 20


def test_secrets_in_the_state_folder_are_for_its_owner(machine: Machine) -> None:
    assert machine.state.config_path.stat().st_mode & 0o077 == 0


def test_a_damaged_file_is_named(machine: Machine) -> None:
    (machine.state.folder / "wanted.json").write_text("{")
    with pytest.raises(Corruption, match=r"wanted\.json cannot be read"):
        machine.state.wanted()


def test_without_files_nothing_is_wanted(tmp_path: Path) -> None:
    assert State(tmp_path).wanted() == Wanted()
    assert not State(tmp_path).exists


class Quiet(Server):
    """A part that answers at once; one that starts nodes says what it was begun with."""

    port_count = 0

    def missing(self) -> list[str]:
        return []

    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-c", f"import os; print(os.environ.get('KEY'), flush=True)\n{SLEEPER}")

    def environment(self) -> dict[str, str]:
        return dict(self.for_nodes)

    @property
    def credentials(self) -> dict[str, str]:
        return {"KEY": "secret"} if self.folder.name == "s3" else {}

    def is_ready(self) -> bool:
        return True

    @property
    def settings(self) -> dict[str, str]:
        return {}


def test_a_part_whose_supervisor_was_killed_before_it_noted_it_is_not_started_beside_itself(tmp_path: Path) -> None:
    """The second would find its port taken, and the first would answer, and stay for ever."""
    first, again = Quiet(tmp_path / "s3"), Quiet(tmp_path / "s3")
    first.launch()
    try:
        again.launch()
        assert again.process == first.process
        again.stop()
        assert not first.is_running
    finally:
        for part in (first, again):
            part.kill()


def test_a_node_whose_supervisor_was_killed_before_it_noted_it_is_not_there_twice(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "_command", lambda *_: machine.command)
    first, again = Supervisor(machine.state), Supervisor(machine.state)
    machine.want(query_1="query")
    noted: list[ProcessId] = []
    try:
        for each in (first, again):
            each.round()
            process = machine.state.present().nodes["query-1"].process
            assert process is not None
            noted.append(process)
        assert [process.is_alive for process in noted] == [False, True]
    finally:
        for process in noted:
            process.kill()


def test_a_part_that_starts_nodes_is_begun_with_the_credentials_of_the_others(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Quiet] = {}
    monkeypatch.setattr(supervisor, "part_named", lambda name, folder: made.setdefault(name, Quiet(folder)))
    machine.state.change(lambda wanted: msgspec.structs.replace(wanted, parts=("s3", "ray")))
    try:
        machine.until(
            lambda: "ray" in made and made["ray"].output.exists() and "here" in made["ray"].output.read_text()
        )
        assert made["ray"].output.read_text().splitlines()[0] == "secret"
    finally:
        for part in made.values():
            part.stop()


def test_ray_gives_nodes_what_they_need_in_their_environment(tmp_path: Path) -> None:
    head = RayHead(tmp_path / "ray")
    head.for_nodes = {"AWS_ACCESS_KEY_ID": "a key"}
    assert head.environment()["AWS_ACCESS_KEY_ID"] == "a key"


def test_a_ray_of_this_machine_wants_a_token_where_the_user_says_so_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would want one as soon as another program of Ray's has left one in the home of the user."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert RayHead(tmp_path / "ray").environment()["RAY_AUTH_MODE"] == "disabled"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert RayHead(tmp_path / "ray").environment()["RAY_AUTH_MODE"] == "token"
