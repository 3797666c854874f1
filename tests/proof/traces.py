"""Recorded sequences of calls over a simulated world, cut short at any operation of its disk.

A step says what it does to a client and what that makes of the state. After a crash the database must hold the state
before the step that was under way or the one after it, and at every moment that was noted before, what it held then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.proof.doors import Simulated

import redkite
from redkite.errors import MilvusException
from redkite.simulated import FaultKind, SimulatedCrash

DIM = 4
KEYS = 16
Values = tuple[Any, ...]
State = dict[str, dict[int, Values]]
"""Rows by key, by collection; a row is (number, *added fields)."""


@dataclass(frozen=True)
class Step:
    name: str
    do: Callable[[Any, Simulated], object]
    then: Callable[[State], State]

    def __repr__(self) -> str:
        return self.name


def with_rows(state: State, collection: str, rows: dict[int, Values]) -> State:
    return state | {collection: rows}


def vector(number: int) -> list[float]:
    return [float(number % 7), float(number % 5), float(number % 3), 1.0]


class Trace:
    """Steps drawn from a seed. `shards` is how many the collection `things` has."""

    def __init__(self, seed: int, length: int, shards: int = 1) -> None:
        self.seed = seed
        self.shards = shards
        self._rng = Random(seed)
        self.steps = [self._draw(number) for number in range(1, length + 1)]

    # -- the first state ------------------------------------------------------------------------
    def begin(self, client: Any) -> State:
        schema = client.create_schema()
        schema.add_field("id", redkite.DataType.INT64, is_primary=True)
        schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("number", redkite.DataType.INT64)
        index = client.prepare_index_params("vector", index_type="HNSW", metric_type="L2", M=4, efConstruction=10)
        client.create_collection("things", schema=schema, index_params=index, num_shards=self.shards)
        client.create_partition("things", "p")
        return {"things": {}}

    # -- steps ----------------------------------------------------------------------------------
    def _draw(self, number: int) -> Step:
        kinds = [self._insert, self._insert, self._insert, self._delete, self._delete_where, self._flush, self._flush]
        kinds += [self._reopen, self._idle, self._rename]
        if self._rng.random() < 0.3:
            kinds += [self._truncate, self._index]
        kinds += [make for method, make in self._optional().items() if hasattr(redkite.MilvusClient, method)]
        return self._rng.choice(kinds)(number)

    def _optional(self) -> dict[str, Callable[[int], Step]]:
        return {
            "compact": self._compact, "add_collection_field": self._add_field, "create_snapshot": self._snapshot,
        }  # fmt: skip

    def _insert(self, number: int) -> Step:
        keys = self._rng.sample(range(KEYS), self._rng.choice((1, 3, 9)))
        partition = self._rng.choice(("", "p"))
        upsert = self._rng.random() < 0.5
        rows = [{"id": key, "number": number, "vector": vector(number)} for key in keys]

        def do(client: Any, _: Simulated) -> None:
            call = client.upsert if upsert else client.insert
            call("things", rows, partition_name=partition)

        def then(state: State) -> State:
            defaults = [row[0] for _, row in sorted(state.get("fields", {}).items())]
            return with_rows(state, "things", state["things"] | dict.fromkeys(keys, (number, *defaults)))

        return Step(f"{number}: write {keys} to {partition or '_default'}", do, then)

    def _delete(self, number: int) -> Step:
        keys = self._rng.sample(range(KEYS), 4)
        return Step(
            f"{number}: delete {keys}",
            lambda client, _: client.delete("things", ids=keys),
            lambda state: with_rows(state, "things", {k: v for k, v in state["things"].items() if k not in keys}),
        )

    def _delete_where(self, number: int) -> Step:
        rest = number % 3
        return Step(
            f"{number}: delete where number % 3 == {rest}",
            lambda client, _: client.delete("things", filter=f"number % 3 == {rest}"),
            lambda state: with_rows(state, "things", {k: v for k, v in state["things"].items() if v[0] % 3 != rest}),
        )

    def _flush(self, number: int) -> Step:
        return Step(f"{number}: flush", lambda client, _: client.flush("things"), lambda state: state)

    def _reopen(self, number: int) -> Step:
        return Step(f"{number}: reopen", lambda _, door: door.restart(), lambda state: state)

    def _idle(self, number: int) -> Step:
        return Step(f"{number}: idle", lambda _, door: door.idle(), lambda state: state)

    def _truncate(self, number: int) -> Step:
        return Step(
            f"{number}: truncate",
            lambda client, _: client.truncate_collection("things"),
            lambda state: with_rows(state, "things", {}) | {"truncated": {number: ()}},
        )

    def _index(self, number: int) -> Step:
        def do(client: Any, _: Simulated) -> None:
            # Half of this may have happened; the rows are what is compared.
            client.release_collection("things")
            client.drop_index("things", "vector")
            client.create_index("things", client.prepare_index_params("vector", index_type="FLAT", metric_type="L2"))
            client.load_collection("things")

        return Step(f"{number}: another index", do, lambda state: state)

    def _rename(self, number: int) -> Step:
        def do(client: Any, _: Simulated) -> None:
            client.rename_collection("things", "others")
            client.rename_collection("others", "things")

        return Step(f"{number}: rename there and back", do, lambda state: state)

    def _compact(self, number: int) -> Step:
        def do(client: Any, door: Simulated) -> None:
            client.compact("things")
            door.env.run_until_idle()

        return Step(f"{number}: compact", do, lambda state: state)

    def _add_field(self, number: int) -> Step:
        name, default = f"added{number:03}", number * 10

        def do(client: Any, _: Simulated) -> None:
            client.add_collection_field("things", name, redkite.DataType.INT64, nullable=True, default_value=default)

        def then(state: State) -> State:
            rows = {key: (*row, default) for key, row in state["things"].items()}
            return with_rows(state, "things", rows) | {"fields": {**state.get("fields", {}), number: (default,)}}

        return Step(f"{number}: add field {name}", do, then)

    def _snapshot(self, number: int) -> Step:
        name = f"snap{number}"
        return Step(
            f"{number}: snapshot",
            lambda client, _: client.create_snapshot(name, "things"),
            lambda state: state,
        )


# -- looking ------------------------------------------------------------------------------------
def look(client: Any, as_of: int | None = None) -> dict[int, Values]:
    """The rows of `things`, whole. Search, query and count must agree about them."""
    options: dict[str, Any] = {} if as_of is None else {"as_of": as_of}
    rows = client.query("things", "id >= 0", output_fields=["*"], **options)
    found = {}
    for row in rows:
        assert row["vector"] == vector(row["number"]), "a row is made of several"
        found[row["id"]] = (row["number"], *(row[n] for n in sorted(row) if n.startswith("added")))
    (hits,) = client.search("things", [[0.0] * DIM], limit=100, **options)
    assert sorted(hits.ids) == sorted(found), "search and query disagree"
    if as_of is None:
        (counted,) = client.query("things", output_fields=["count(*)"])
        assert counted["count(*)"] == len(found)
    return found


def ready(client: Any) -> None:
    """A client whose collection has an index and is loaded, whatever a crash left undone."""
    if "others" in client.list_collections():
        client.rename_collection("others", "things")
    if not client.list_indexes("things"):
        client.create_index("things", client.prepare_index_params("vector", index_type="FLAT", metric_type="L2"))
    client.load_collection("things")


@dataclass
class Tally:
    crashes: int = 0
    faults: int = 0
    refused: int = 0
    operations: int = 0


class Sweep:
    """One trace, run again and again with something going wrong at another operation each time."""

    def __init__(self, trace: Trace, tally: Tally) -> None:
        self.trace = trace
        self.tally = tally

    def crash_everywhere(self, every: int = 1, first: int = 1) -> None:
        operation = first
        while self.crash_at(operation):
            operation += every
        self.tally.operations = max(self.tally.operations, operation)

    def crash_at(self, operation: int) -> bool:
        """False when the trace is over before that operation."""
        with self._world() as (door, start):
            door.disk.crash_at(door.disk.operations + operation)
            before = after = start
            noted: list[tuple[int, dict[int, Values]]] = []
            step = None
            try:
                for step in self.trace.steps:
                    after = step.then(before)
                    step.do(door.client, door)
                    noted = self._note(door, step, noted, before, after)
                    before = after
                door.client.close()
            except SimulatedCrash:
                pass
            else:
                return False
            self.tally.crashes += 1
            door.revive()
            ready(door.client)
            found = look(door.client)
            here = f"seed {self.trace.seed}, operation {operation}, in step {step}"
            if self.trace.shards == 1:
                assert found in (before["things"], after["things"]), (
                    f"half a step is there: {here}\nbefore {before}\nafter {after}\nfound {found}"
                )
            for key in {*before["things"], *after["things"], *found}:
                assert found.get(key) in (before["things"].get(key), after["things"].get(key)), f"key {key}: {here}"
            if before.get("truncated") == after.get("truncated"):
                self._compare_moments(door, noted, here)
            self._goes_on(door, found)
        return True

    def _note(
        self, door: Simulated, step: Step, noted: list[tuple[int, dict[int, Values]]], before: State, after: State
    ) -> list[tuple[int, dict[int, Values]]]:
        """Remember what is held now, for a look from later. What is cut off or given another shape is not kept."""
        if after.get("truncated") != before.get("truncated") or after.get("fields") != before.get("fields"):
            return []
        return [*noted, (door.timestamp(), after["things"])][-4:]

    def _compare_moments(self, door: Simulated, noted: list[tuple[int, dict[int, Values]]], here: str) -> None:
        for timestamp, rows in noted:
            then = look(door.client, as_of=timestamp)
            shown = {key: row[: len(rows[key])] if key in rows else row for key, row in then.items()}
            assert shown == rows, f"the past has changed: {here}"

    def _goes_on(self, door: Simulated, found: dict[int, Values]) -> None:
        """A database that was rescued takes writes, and keeps them."""
        door.client.upsert("things", [{"id": 99, "number": 1, "vector": vector(1)}])
        door.restart()
        assert look(door.client).keys() == found.keys() | {99}

    # -- faults ---------------------------------------------------------------------------------
    def fail_everywhere(self, kind: FaultKind, every: int = 1, first: int = 1) -> None:
        operation = first
        while self.fail_at(operation, kind):
            operation += every

    def fail_at(self, operation: int, kind: FaultKind) -> bool:
        """One operation fails; the steps go on, and in the end the power is cut. Nothing may be half there."""
        with self._world() as (door, start):
            last = door.disk.operations + operation
            door.disk.fail_at(last, kind)
            possible: list[State] = [start]
            for step in self.trace.steps:
                try:
                    step.do(door.client, door)
                except MilvusException:
                    self.tally.refused += 1
                    possible = [*possible, *(step.then(state) for state in possible)]
                    door.open_if_closed()
                else:
                    possible = [step.then(state) for state in possible]
            with contextlib.suppress(MilvusException):
                door.client.close()
            if door.disk.operations < last:
                return False
            self.tally.faults += 1
            door.crash()
            ready(door.client)
            found = look(door.client)
            assert found in [state["things"] for state in possible], (
                f"seed {self.trace.seed}, {kind} at operation {operation}: {found} is none of {possible}"
            )
            self._goes_on(door, found)
        return True

    @contextlib.contextmanager
    def _world(self) -> Iterator[tuple[Simulated, State]]:
        door = Simulated(self.trace.seed)
        try:
            yield door, self.trace.begin(door.client)
        finally:
            door.close()
