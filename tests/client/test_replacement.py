"""`import redkite as pymilvus`: the page about it says what is not there, and nothing else is missing."""

from __future__ import annotations

import re

import pymilvus
from tests.snippets import REPOSITORY

import redkite

PAGE = (REPOSITORY / "docs" / "from-pymilvus.md").read_text()


def test_every_name_of_pymilvus_is_there_or_in_the_list_of_those_that_are_not() -> None:
    listed: set[str] = set()
    for row in re.findall(r"^\| (`[^|]+) \|", PAGE.partition("## Names that are not there")[2], re.MULTILINE):
        listed |= set(re.findall(r"`(\w+)`", row))
    missing = set(pymilvus.__all__) - set(redkite.__all__)
    assert listed == missing


def test_names_that_are_alike_are_of_one_kind() -> None:
    for name in set(pymilvus.__all__) & set(redkite.__all__):
        theirs, ours = getattr(pymilvus, name), getattr(redkite, name)
        assert isinstance(theirs, type) == isinstance(ours, type), name
        assert callable(theirs) == callable(ours), name


def test_enumerations_have_the_same_members() -> None:
    for name in ("DataType", "FunctionType", "IndexType", "CompactionType", "CompactionTaskState"):
        theirs = {member.name: member.value for member in getattr(pymilvus, name) if not member.name.startswith("_")}
        ours = {member.name: member.value for member in getattr(redkite, name)}
        assert theirs.items() <= ours.items(), name


def test_an_index_may_be_named_by_the_enumeration() -> None:
    params = redkite.MilvusClient.prepare_index_params()
    params.add_index("v", redkite.IndexType.HNSW, metric_type="L2")
    params.add_index("w", index_type=redkite.IndexType.IVFLAT, metric_type="L2")
    assert [index.index_type for index in params] == ["HNSW", "IVF_FLAT"]
    assert issubclass(redkite.MilvusUnavailableException, redkite.MilvusException)
    assert redkite.BulkInsertState.ImportCompleted == pymilvus.BulkInsertState.ImportCompleted
