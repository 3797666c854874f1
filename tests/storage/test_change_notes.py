"""What a catalog notes of its commits: in order, without gaps, and once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.errors import Conflict
from redkite.storage.catalog import MemoryCatalog, MemoryTable
from redkite.storage.change_notes import ADMITTED, KEPT, LARGE, TRUNCATED, ChangeNotes, KeyChange


def test_a_commit_of_what_users_made_is_noted_with_what_was_there_before() -> None:
    notes = ChangeNotes(MemoryCatalog())
    stamps = iter(range(10, 100))
    notes.stamp_with(lambda: next(stamps))
    notes.commit({"root/collection/1": b"a", "segment/1/2": b"x"})
    notes.commit({"segment/1/3": b"x"})
    notes.commit({"root/collection/1": b"b"}, ["load/7"])
    found = notes.notes(0)
    assert found is not None and [(n.number, n.timestamp) for n in found] == [(1, 10), (2, 11)]
    assert found[0].changes == (KeyChange("root/collection/1", None, b"a"),)
    assert found[1].changes == (KeyChange("root/collection/1", b"a", b"b"), KeyChange("load/7", None, None))
    assert notes.notes(2) == [] and notes.notes(3) is None


def test_notes_of_a_channel_come_and_go_with_it() -> None:
    notes = ChangeNotes(MemoryCatalog())
    for at, kind in ((5, ADMITTED), (6, TRUNCATED)):
        notes.commit(notes.noted("ch", kind, at))
    found = notes.notes_of("ch", 0)
    assert found is not None and [(n.number, n.timestamp, n.kind) for n in found] == [
        (1, 5, ADMITTED),
        (2, 6, TRUNCATED),
    ]
    notes.commit({}, ["channel/ch"])
    assert notes.newest_of("ch") == 0 and notes.notes_of("ch", 0) == []


def test_a_value_that_is_large_is_not_repeated() -> None:
    notes = ChangeNotes(MemoryCatalog())
    notes.commit({"files/name/a": b"x" * (LARGE + 1)})
    (note,) = notes.notes(0) or []
    assert note.changes == (KeyChange("files/name/a", None, None, True),)


def test_old_notes_go_and_whoever_wanted_them_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.storage.change_notes.KEPT", 3)
    assert KEPT > 100
    notes = ChangeNotes(MemoryCatalog())
    for number in range(5):
        notes.commit({"load/1": b"%d" % number})
    assert notes.notes(1) is None
    assert [n.number for n in notes.notes(2) or []] == [3, 4, 5]
    for at in range(5):
        notes.commit(notes.noted("ch", ADMITTED, at))
    assert notes.notes_of("ch", 1) is None
    assert [n.number for n in notes.notes_of("ch", 2) or []] == [3, 4, 5]
    assert len(notes.scan("changes/channel/ch/")) == 3


def test_two_processes_never_give_one_number_to_two_notes() -> None:
    table = MemoryTable()
    one, other = ChangeNotes(MemoryCatalog(table)), ChangeNotes(MemoryCatalog(table))
    one.commit({"load/1": b"a"})
    other.commit({"load/2": b"b"})
    one.commit({"load/3": b"c"})
    with pytest.raises(Conflict, match="load/1"):
        other.commit({"load/1": b"z"}, expect={"load/1": None})
    found = ChangeNotes(MemoryCatalog(table)).notes(0)
    assert [n.changes[0].key for n in found or []] == ["load/1", "load/2", "load/3"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["load/1", "load/2", "other"]), st.booleans()), max_size=20))
def test_the_notes_in_order_make_what_is_there(steps: list[tuple[str, bool]]) -> None:
    notes = ChangeNotes(MemoryCatalog())
    for at, (key, puts) in enumerate(steps):
        notes.commit({key: b"%d" % at} if puts else {}, [] if puts else [key])
    copy: dict[str, bytes] = {}
    for note in notes.notes(0) or []:
        for change in note.changes:
            assert copy.get(change.key) == change.before
            if change.after is None:
                copy.pop(change.key, None)
            else:
                copy[change.key] = change.after
    assert copy == dict(notes.scan("load/"))
