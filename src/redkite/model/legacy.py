"""Calls that the protocol has kept and that nothing is behind any more: requests that are answered, or refused."""

from __future__ import annotations

from redkite.model.request import Request
from redkite.model.results import Result
from redkite.model.schema import FunctionSchema


class CalcDistance(Request, frozen=True):
    """Refused: distances between vectors are the caller's to compute."""


class ReplicateMessage(Request, frozen=True):
    """Refused: the way in which clusters were kept alike once."""

    channel: str = ""


class AddCollectionFunction(Request, frozen=True):
    """Refused: a function comes with its output field."""

    collection: str
    function: FunctionSchema


class DropCollectionFunction(Request, frozen=True):
    """Refused: a function goes with its output field."""

    collection: str
    function: str


class RegisterLink(Request, frozen=True):
    """-> Done: whoever answers is there."""


class Dummy(Request, frozen=True):
    """-> DummyAnswer"""

    question: str = ""


class DummyAnswer(Result, frozen=True):
    text: str
    """JSON."""
