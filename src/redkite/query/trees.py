"""Boosted trees as XGBoost stores them, in UBJSON or JSON, and what they predict for columns of numbers.

All trees and all rows go down one level at a time, so the work in Python is as deep as the deepest tree. Numbers are
compared in single precision and leaves are added in double, as near to the library as makes no difference.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.errors import InvalidParameter
from redkite.index.base import RowNumbers

Values = npt.NDArray[np.float64]
STEPS_AT_ONCE = 4_000_000
"""Rows × trees that go down together."""
MOST_DEPTH = 64
"""Of a document."""
_LEAF = -1
_OWNER = "xgboost model"


# -- the document -------------------------------------------------------------------------------
_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}


class _Reader:
    """One UBJSON document. Arrays of one type become numpy arrays."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def whole(self) -> Any:
        return self._value(self._mark(), 0)

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if size < 0 or len(taken) != size:
            raise InvalidParameter(f"{_OWNER}: it is cut off")
        self._at += size
        return taken

    def _mark(self) -> str:
        return self._take(1).decode("latin-1")

    def _number(self, mark: str) -> Any:
        if mark not in _NUMBERS:
            raise InvalidParameter(f"{_OWNER}: this is no UBJSON, at byte {self._at}")
        kind = np.dtype(_NUMBERS[mark])
        return np.frombuffer(self._take(kind.itemsize), kind)[0].item()

    def _text(self) -> str:
        return self._take(int(self._number(self._mark()))).decode("utf-8", "replace")

    def _value(self, mark: str, depth: int) -> Any:
        if depth > MOST_DEPTH:
            raise InvalidParameter(f"{_OWNER}: it is nested too deep")
        if mark == "{":
            return self._object(depth)
        if mark == "[":
            return self._array(depth)
        if mark == "S":
            return self._text()
        if mark in "TFZ":
            return {"T": True, "F": False, "Z": None}[mark]
        return self._number(mark)

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._data[self._at : self._at + 1] != b"}":
            key = self._text()
            found[key] = self._value(self._mark(), depth + 1)
        self._at += 1
        return found

    def _array(self, depth: int) -> Any:
        mark = self._mark()
        kind = None
        if mark == "$":
            kind, mark = self._mark(), self._mark()
        if mark == "#":
            count = int(self._number(self._mark()))
            if kind in _NUMBERS:
                dtype = np.dtype(_NUMBERS[str(kind)])
                return np.frombuffer(self._take(count * dtype.itemsize), dtype)
            if count > len(self._data):
                raise InvalidParameter(f"{_OWNER}: it is cut off")
            return [self._value(kind or self._mark(), depth + 1) for _ in range(count)]
        found = []
        while mark != "]":
            found.append(self._value(mark, depth + 1))
            mark = self._mark()
        return found


def _document(data: bytes) -> Any:
    if data[:1] == b"{" and data[1:2] in b'"\n\r\t ' and data[1:2]:
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise InvalidParameter(f"{_OWNER}: it is no JSON: {error}") from None
    if data[:1] != b"{":
        raise InvalidParameter(f"{_OWNER}: it is neither UBJSON nor JSON")
    return _Reader(data).whole()


# -- the trees ----------------------------------------------------------------------------------
def _same(margin: Values) -> Values:
    return margin


def _sigmoid(margin: Values) -> Values:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-margin))


def _exponential(margin: Values) -> Values:
    with np.errstate(over="ignore"):
        return np.exp(margin)


def _hinge(margin: Values) -> Values:
    return (margin > 0).astype(np.float64)


def _logit(score: float) -> float:
    if not 0 < score < 1:
        raise InvalidParameter(f"{_OWNER}: base_score must be in (0, 1) for a logistic objective, got {score:g}")
    return -math.log(1 / score - 1)


def _log(score: float) -> float:
    if score <= 0:
        raise InvalidParameter(f"{_OWNER}: base_score must be more than 0, got {score:g}")
    return math.log(score)


def _plain(score: float) -> float:
    return score


Shape = tuple[Callable[[Values], Values], Callable[[float], float]]
_SHAPES: dict[str, Shape] = {
    **dict.fromkeys((
        "reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror",
        "rank:pairwise", "rank:ndcg", "rank:map",
    ), (_same, _plain)),
    **dict.fromkeys(("binary:logistic", "reg:logistic"), (_sigmoid, _logit)),
    "binary:logitraw": (_same, _plain),
    "binary:hinge": (_hinge, _plain),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"), (_exponential, _log)),
}  # fmt: skip
"""Objective -> what makes a prediction of a margin, and a margin of the base score."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees one behind another. Nodes are numbered through all of them."""

    features: int
    roots: RowNumbers
    left: RowNumbers
    """_LEAF at a leaf."""
    right: RowNumbers
    feature: RowNumbers
    bound: npt.NDArray[np.float32]
    """A number below it goes left; at a leaf, its value."""
    missing_left: npt.NDArray[np.bool_]
    weights: Values
    """Of each tree."""
    base: float
    finish: Callable[[Values], Values]

    def predict(self, numbers: npt.NDArray[np.float32], *, raw: bool) -> Values:
        """(rows,) predictions for (rows, features) numbers, NaN where there is none; `raw`: the margins."""
        margins = np.full(len(numbers), self.base)
        step = max(1, STEPS_AT_ONCE // max(1, len(self.roots)))
        for at in range(0, len(numbers), step):
            block = numbers[at : at + step]
            if len(self.roots):
                margins[at : at + step] += self.bound[self._leaves(block)].astype(np.float64) @ self.weights
        return margins if raw else self.finish(margins)

    def _leaves(self, numbers: npt.NDArray[np.float32]) -> RowNumbers:
        """(rows, trees)"""
        nodes = np.tile(self.roots, (len(numbers), 1))
        rows = np.arange(len(numbers))[:, None]
        while True:
            inner = self.left[nodes] != _LEAF
            if not inner.any():
                return nodes
            given = numbers[rows, self.feature[nodes]]
            goes_left = np.where(np.isnan(given), self.missing_left[nodes], given < self.bound[nodes])
            nodes = np.where(inner, np.where(goes_left, self.left[nodes], self.right[nodes]), nodes)


@lru_cache(maxsize=8)
def forest_of(data: bytes) -> Forest:
    """A model from its file. Raises InvalidParameter for what is none, or predicts otherwise than by trees of numbers,
    one number for each row."""
    document = _document(data)
    try:
        return _forest(document["learner"])
    except InvalidParameter:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, struct.error) as error:
        raise InvalidParameter(f"{_OWNER}: it is not as models are: {type(error).__name__} {error}") from None


def _forest(learner: Any) -> Forest:
    booster, shape = learner["gradient_booster"], learner["learner_model_param"]
    objective = str(learner["objective"]["name"])
    if objective not in _SHAPES:
        raise InvalidParameter(f"{_OWNER}: objective {objective} is not supported")
    if int(shape.get("num_class", 0)) > 1 or int(shape.get("num_target", 1)) > 1:
        raise InvalidParameter(f"{_OWNER}: it predicts several numbers for each row")
    if booster["name"] not in ("gbtree", "dart"):
        raise InvalidParameter(f"{_OWNER}: booster {booster['name']} is not supported, gbtree and dart are")
    dropped = booster["name"] == "dart"
    trees: Sequence[Any] = (booster["gbtree"] if dropped else booster)["model"]["trees"]
    weights = np.asarray(booster["weight_drop"] if dropped else np.ones(len(trees)), np.float64)
    finish, margin_of = _SHAPES[objective]
    features = int(shape["num_feature"])
    parts = [_tree(tree, features) for tree in trees]
    sizes = np.array([len(part[0]) for part in parts], np.int64)
    starts = np.cumsum(sizes) - sizes
    moves = np.repeat(starts, sizes)
    left, right, feature, bound, missing = (
        np.concatenate([np.empty(0, part_type), *(part[at] for part in parts)])
        for at, part_type in enumerate((np.int64, np.int64, np.int64, np.float32, np.bool_))
    )
    if weights.shape != (len(trees),):
        raise InvalidParameter(f"{_OWNER}: it has {len(trees)} trees and {len(weights)} weights")
    return Forest(
        features=features,
        roots=starts,
        left=np.where(left == _LEAF, _LEAF, left + moves),
        right=right + moves,
        feature=feature,
        bound=bound,
        missing_left=missing,
        weights=weights,
        base=margin_of(float(str(shape["base_score"]).strip("[]"))),
        finish=finish,
    )


def _tree(tree: Any, features: int) -> tuple[Any, ...]:
    """(left, right, feature, bound, missing goes left) of its nodes. Children stand behind their parents, so that every
    way down ends."""
    left, right, feature = (
        np.asarray(tree[name], np.int64) for name in ("left_children", "right_children", "split_indices")
    )
    bound, missing = np.asarray(tree["split_conditions"], np.float32), np.asarray(tree["default_left"]).astype(np.bool_)
    count = len(left)
    if not count or not len(right) == len(feature) == len(bound) == len(missing) == count:
        raise InvalidParameter(f"{_OWNER}: a tree has parts of different lengths")
    if np.asarray(tree.get("split_type", ())).any():
        raise InvalidParameter(f"{_OWNER}: splits by categories are not supported")
    inner = np.flatnonzero(left != _LEAF)
    for children in (left[inner], right[inner]):
        if len(inner) and not (children.max() < count and (children > inner).all()):
            raise InvalidParameter(f"{_OWNER}: the nodes of a tree are no tree")
    if len(inner) and not 0 <= feature[inner].min() <= feature[inner].max() < features:
        raise InvalidParameter(f"{_OWNER}: a tree asks for a feature that there is not")
    return left, right, np.where(left == _LEAF, 0, feature), bound, missing
