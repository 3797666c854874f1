"""What is said of values that do not fit their field, in Milvus's words."""

from __future__ import annotations

from redkite.errors import DataNotMatchException, InvalidParameter


def mismatch(field: str, expected: str, value: object) -> DataNotMatchException:
    return DataNotMatchException(
        "The Input data type is inconsistent with defined schema, "
        f"{{{field}}} field should be a {expected}, but got a {{{type(value)}}} instead."
    )


def wrong_dim(field: str, expected: int, actual: int) -> InvalidParameter:
    return InvalidParameter(
        f"the dim ({actual}) of field data({field}) is not equal to schema dim ({expected})",
        expected=expected, actual=actual,
    )  # fmt: skip
