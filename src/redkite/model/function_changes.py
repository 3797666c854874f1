"""What can be asked of the functions of a collection that exists. `requests.py` names these requests too."""

from __future__ import annotations

from redkite.model.request import Request
from redkite.model.schema import FieldSchema, FunctionSchema


class AddFunctionField(Request, frozen=True):
    """Add a function together with the field that it fills, also for the rows that are there; and, with `index_params`,
    an index over the field. Only of functions that ask no other service."""

    collection: str
    field: FieldSchema
    function: FunctionSchema
    index_name: str = ""
    index_params: dict[str, str] = {}


class DropFunctionField(Request, frozen=True):
    """Drop a function, the field that it fills and the field's index."""

    collection: str
    function: str


class AlterFunction(Request, frozen=True):
    """Give a function that asks a model other parameters: another address, credential, batch … Vectors that are there
    stay as they are."""

    collection: str
    name: str
    function: FunctionSchema
