"""Scores from what rows hold: factors that decay with a number's distance from where it is best, and boosts of rows
that pass a filter."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.filter import Filter
from redkite.filter.columns import ArrowColumns
from redkite.model.schema import CollectionSchema
from redkite.query.fusion import Mode, Pool, Scored, Values, combined, comparable

Curve = Literal["gauss", "exp", "linear"]
CURVES: tuple[Curve, ...] = ("gauss", "exp", "linear")
Combination = Literal["multiply", "sum"]
COMBINATIONS: tuple[Combination, ...] = ("multiply", "sum")


# -- decay --------------------------------------------------------------------------------------
class Slope(msgspec.Struct, frozen=True, kw_only=True):
    """A factor of 1 within `offset` of `origin`, which is `decay` at `scale` beyond that."""

    curve: Curve
    origin: float
    scale: float
    offset: float = 0.0
    decay: float = 0.5

    def factors(self, values: pa.Array) -> Values:
        """(rows,) factors; 0 where there is no value."""
        numbers = number_column(values)
        distance = np.maximum(0.0, np.abs(numbers - self.origin) - self.offset)
        with np.errstate(under="ignore", over="ignore"):
            steps = distance / self.scale
            if self.curve == "gauss":
                factors = np.exp(steps**2 * np.log(self.decay))
            elif self.curve == "exp":
                factors = np.exp(steps * np.log(self.decay))
            else:
                factors = np.maximum(self.decay, 1.0 - steps * (1.0 - self.decay))
        return np.where(np.isnan(numbers), 0.0, factors)


class Decay(msgspec.Struct, frozen=True, kw_only=True):
    """The score of a row times a factor of one of its fields."""

    field: str
    slope: Slope
    norm_score: bool = False
    score_mode: Mode = "max"
    """Of a row that several lists found."""


def number_column(values: pa.Array) -> Values:
    """A column of numbers in double precision, NaN where there is none."""
    doubles: Values = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return doubles


def decayed(rows: Pool, decay: Decay) -> Scored:
    scores = combined(rows, comparable(rows, normalized=decay.norm_score), decay.score_mode)
    return Scored((scores * decay.slope.factors(rows.rows.column(decay.field))).astype(np.float32))


# -- boost --------------------------------------------------------------------------------------
class RandomScore(msgspec.Struct, frozen=True, kw_only=True):
    """A number in [0, 1) for each row, the same for the same seed and value of the field."""

    seed: int
    field: str


class Boost(msgspec.Struct, frozen=True, kw_only=True):
    """A weight for the rows that pass the filter; times a random number, if there is one."""

    weight: float
    filter: Filter | None = None
    random: RandomScore | None = None


class Boosts(msgspec.Struct, frozen=True, kw_only=True):
    """`function_mode` makes one number of the boosts that apply to a row, `boost_mode` joins that with its score. The
    score of a row that none applies to stays as it is."""

    boosts: tuple[Boost, ...]
    boost_mode: Combination = "multiply"
    function_mode: Combination = "multiply"

    @property
    def fields(self) -> frozenset[str]:
        """The columns that are looked at."""
        filters = [boost.filter.fields for boost in self.boosts if boost.filter is not None]
        randoms = [boost.random.field for boost in self.boosts if boost.random is not None]
        return frozenset[str]().union(*filters, randoms)


def boosted(scores: npt.NDArray[Any], rows: pa.RecordBatch, boosts: Boosts, schema: CollectionSchema) -> Values:
    """(rows,) scores with what the boosts add to them."""
    columns = ArrowColumns(rows, schema)
    adding = boosts.function_mode == "sum"
    totals = np.full(len(scores), 0.0 if adding else 1.0)
    touched = np.zeros(len(scores), np.bool_)
    for boost in boosts.boosts:
        mask = np.ones(len(scores), np.bool_) if boost.filter is None else boost.filter.evaluate(columns)
        values = np.full(len(scores), boost.weight)
        if boost.random is not None:
            values *= random_numbers(rows.column(boost.random.field), boost.random.seed)
        totals = np.where(mask, totals + values if adding else totals * values, totals)
        touched |= mask
    given = scores.astype(np.float64)
    changed = given + totals if boosts.boost_mode == "sum" else given * totals
    return np.where(touched, changed, given)


def random_numbers(column: pa.Array, seed: int) -> Values:
    """(rows,) numbers spread evenly over [0, 1) by the values of a column; nulls are one value."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        codes = _text_codes(column)
    else:
        filled = pc.fill_null(column, 0) if column.null_count else column
        codes = filled.cast(pa.int64()).to_numpy().astype(np.uint64)
    mixed = _mixed(codes + _mixed(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64)))
    return (mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _mixed(codes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the number: the finishing steps of splitmix64."""
    z = codes + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _text_codes(column: pa.Array) -> npt.NDArray[np.uint64]:
    """A number for each text: its bytes as digits of a large base, modulo 2**64."""
    texts = pc.fill_null(column, "").cast(pa.large_string())
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]].astype(np.uint64)
    lengths = np.diff(offsets)
    within = np.arange(len(data)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, 0x100000001B3, np.uint64))
    digits = (data + np.uint64(1)) * powers[within]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(digits)])
    starts = offsets - offsets[0]
    codes: npt.NDArray[np.uint64] = sums[starts[1:]] - sums[starts[:-1]] + lengths.astype(np.uint64)
    return codes
