"""Measurements of a collection's searches: how exact they are, and what each type of index would cost and give.

Requests that `requests.py` does not list, and their results.
"""

from __future__ import annotations

from typing import Any

from redkite.model.request import Request
from redkite.model.results import Result


class MeasureRecall(Request, frozen=True):
    """-> RecallReport. Searches asked before are asked once more, as parameters say and exactly."""

    collection: str
    anns_field: str = ""
    """May be empty when the collection has one vector field."""
    limit: int = 10
    queries: int = 100
    """How many, at most; the newest ones."""
    params: dict[str, Any] = {}
    """Of the index, as a search takes them."""


class RecallReport(Result, frozen=True):
    recall: float
    """The part of the true neighbours that was found, over all queries."""
    low: float
    """With 95 % confidence it is no less than this (Wilson 1927), …"""
    high: float
    """… and no more than this."""
    queries: int
    source: str
    """`live`: queries that were asked before; `stored`: points between stored vectors, when there were none."""
    params: dict[str, int | float | str | bool] = {}
    """Of the index, as resolved."""


class AdviseIndex(Request, frozen=True):
    """-> IndexAdvices. Builds each index type that fits over a sample of the rows, and searches it."""

    collection: str
    anns_field: str = ""
    limit: int = 10
    recall: float = 0.95
    sample: int = 10_000
    """Rows, at most."""


class IndexAdvice(Result, frozen=True):
    """What one type of index costs and gives, over the sample, in one thread of this machine."""

    index_type: str
    params: dict[str, int | float | str | bool]
    search_params: dict[str, int | float | str | bool]
    """The least effort with which `recall` was reached; the most that was tried, where it was not."""
    recall: float
    searches_per_second: float
    bytes_per_row: float
    """Of the index, beside the vectors."""
    build_seconds: float
    reaches: bool
    """Whether it finds as much as was asked for."""


class IndexAdvices(Result, frozen=True):
    rows: int
    """Of the sample."""
    queries: int
    metric: str
    advices: tuple[IndexAdvice, ...]
    """Those that reach the recall first, the fastest first."""
