from __future__ import annotations

from collections.abc import Callable

import pytest

from redkite.errors import InvalidDatabaseName, InvalidFieldName, InvalidParameter, MilvusException
from redkite.model.rules import names

LONG = "a" * 256
END = ": invalid parameter"

BAD: list[tuple[Callable[[str], str], str, int, str]] = [
    (names.check_collection_name, "", 1100, "collection name should not be empty" + END),
    (
        names.check_collection_name, LONG, 1100,
        f"Invalid collection name: {LONG}.  the length of a collection name must be less than 255 characters" + END,
    ),
    (
        names.check_collection_name, "1st", 1100,
        "Invalid collection name: 1st.  the first character of a collection name must be an underscore or letter" + END,
    ),
    (
        names.check_collection_name, "a-b", 1100,
        "Invalid collection name: a-b.  collection name can only contain numbers, letters and underscores" + END,
    ),
    (
        names.check_collection_name, "naïve", 1100,
        "Invalid collection name: naïve.  collection name can only contain numbers, letters and underscores" + END,
    ),
    (names.check_alias, "", 1100, "collection alias should not be empty" + END),
    (
        names.check_alias, "a b", 1100,
        "Invalid collection alias: a b.  collection alias can only contain numbers, letters and underscores" + END,
    ),
    (names.check_field_name, " ", 1701, "field name should not be empty: field name invalid[field=]"),
    (
        names.check_field_name, "1st", 1701,
        "Invalid field name: 1st. The first character of a field name must be an underscore or letter."
        ": field name invalid[field=1st]",
    ),
    (
        names.check_field_name, "a.b", 1701,
        "Invalid field name: a.b. Field name can only contain numbers, letters, and underscores."
        ": field name invalid[field=a.b]",
    ),
    (
        names.check_field_name, LONG, 1701,
        f"Invalid field name: {LONG}. The length of a field name must be less than 255 characters."
        f": field name invalid[field={LONG}]",
    ),
    (
        names.check_field_name, "ARRAY_LENGTH", 1701,
        "Invalid field name: ARRAY_LENGTH. ARRAY_LENGTH is keyword in milvus.: field name invalid[field=ARRAY_LENGTH]",
    ),
    (names.check_field_name, "nUlL", 1701, "Invalid field name: nUlL. nUlL is keyword in milvus."
                                           ": field name invalid[field=nUlL]"),
    (
        names.check_field_name, "$meta", 1701,
        'field name "$meta" is reserved for internal use and cannot be used in user schemas'
        ": field name invalid[field=$meta]",
    ),
    (names.check_partition_name, " ", 1100, "Invalid partition name: . Partition name should not be empty." + END),
    (
        names.check_partition_name, "-a", 1100,
        "Invalid partition name: -a. The first character of a partition name must be an underscore or letter." + END,
    ),
    (
        names.check_partition_name, "a.b", 1100,
        "Invalid partition name: a.b. Partition name can only contain numbers, letters and underscores." + END,
    ),
    (
        names.check_partition_name, LONG, 1100,
        f"Invalid partition name: {LONG}. The length of a partition name must be less than 255 characters." + END,
    ),
    (names.check_database_name, "", 802, "database name couldn't be empty: invalid database name[database=]"),
    (
        names.check_database_name, LONG, 802,
        f"the length of a database name must be less than 255 characters: invalid database name[database={LONG}]",
    ),
    (
        names.check_database_name, "1st", 802,
        "the first character of a database name must be an underscore or letter: invalid database name[database=1st]",
    ),
    (
        names.check_database_name, "a-b", 802,
        "database name can only contain numbers, letters and underscores: invalid database name[database=a-b]",
    ),
    (
        names.check_index_name, LONG, 1100,
        f"Invalid index name: {LONG}. The length of a index name must be less than 255 characters." + END,
    ),
    (
        names.check_index_name, "1st", 1100,
        "Invalid index name: 1st. The first character of an index name must be an underscore or letter." + END,
    ),
    (
        names.check_index_name, "a b", 1100,
        "Invalid index name: a b. Index name can only contain numbers, letters, and underscores." + END,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("check", "name", "code", "text"), BAD)
def test_a_bad_name_is_refused_with_its_code_and_text(
    check: Callable[[str], str], name: str, code: int, text: str
) -> None:
    with pytest.raises(MilvusException) as caught:
        check(name)
    assert (caught.value.code, caught.value.message) == (code, text)
    assert isinstance(caught.value, InvalidParameter | InvalidFieldName | InvalidDatabaseName)


@pytest.mark.parametrize(
    ("check", "name", "kept"),
    [
        (names.check_collection_name, "_a1", "_a1"),
        (names.check_collection_name, "a" * 255, "a" * 255),
        (names.check_alias, "Latest", "Latest"),
        (names.check_field_name, " title ", "title"),
        (names.check_field_name, "Like", "Like"),
        (names.check_field_name, "inside", "inside"),
        (names.check_partition_name, "2024-01 ", "2024-01"),
        (names.check_database_name, "_db", "_db"),
        (names.check_index_name, "", ""),
        (names.check_index_name, "ix_1", "ix_1"),
    ],
)
def test_a_good_name_is_kept(check: Callable[[str], str], name: str, kept: str) -> None:
    assert check(name) == kept


def test_a_name_must_not_end_in_a_line_break() -> None:
    with pytest.raises(InvalidParameter):
        names.check_collection_name("docs\n")
