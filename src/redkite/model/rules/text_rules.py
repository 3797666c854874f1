"""Fields whose words can be searched for: `enable_match` and what goes with it."""

from __future__ import annotations

from redkite.errors import InvalidParameter
from redkite.model.rules.numbers import truth
from redkite.model.schema import FieldSchema

ENABLE_ANALYZER = "enable_analyzer"
ENABLE_MATCH = "enable_match"
_MULTI = "multi_analyzer_params"


def enables_match(field: FieldSchema) -> bool:
    """Whether filters may ask for words of a field."""
    return bool(truth(field.params.get(ENABLE_MATCH, "false")))


def enables_analyzer(field: FieldSchema) -> bool:
    """Whether the words of a field mean anything."""
    return bool(truth(field.params.get(ENABLE_ANALYZER, "false")))


def check_match(field: FieldSchema) -> None:
    """Raise unless words of the field can be asked for, where that is wanted."""
    if not enables_match(field):
        return
    if not field.data_type.is_string:
        raise InvalidParameter(
            f"type param {ENABLE_MATCH} is only for VarChar and Text fields, field name = {field.name}"
        )
    if not enables_analyzer(field):
        raise InvalidParameter(f"field {field.name} is set to enable match or bm25 function but not enable analyzer")
    if _MULTI in field.params:
        raise InvalidParameter(f"multi analyzer now only support for bm25, but now field {field.name} enable match")
