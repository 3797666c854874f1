"""The face of a schema's function that is ready to run, and what it may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from redkite.env import Env
from redkite.model.reading import Queries

if TYPE_CHECKING:
    from redkite.functions.models import Models
    from redkite.text.specs import Resources


@dataclass(frozen=True, slots=True)
class Services:
    """What functions use beside the schema they belong to."""

    env: Env
    models: Models
    """Services, folders and callables that models are behind."""
    resources: Resources | None = field(default=None)
    """Files that analyzers read; None: there are none."""


class Local(Protocol):
    """What functions use that ask neither a service nor a model."""

    @property
    def resources(self) -> Resources | None: ...


class FieldFunction(Protocol):
    """One function of a schema. Safe from any thread; kept as long as the schema is.

    Making one checks its parameters (InvalidParameter); it asks no other service for that.
    """

    @property
    def inputs(self) -> tuple[str, ...]:
        """The fields whose columns `fill` takes: those the schema names, and perhaps others behind them."""
        ...

    def fill(self, inputs: Sequence[pa.Array]) -> pa.Array:
        """The rows' columns of `inputs`, in that order, as their fields store them -> the output field's column, as
        that field stores it: one value for each row, no nulls. Raises InvalidParameter for values it does not take and
        FunctionFailed when another service does not do its part; then nothing is written."""
        ...

    def queries(self, texts: Sequence[str], analyzer_name: str = "") -> Queries:
        """Search texts -> as many vectors of the output field. `analyzer_name`, of the search, is for functions that
        choose among analyzers; others refuse one that is not empty."""
        ...
