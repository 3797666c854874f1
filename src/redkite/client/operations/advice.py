"""Measurements of searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redkite.client import arguments
from redkite.client.operations.reads import flat_params
from redkite.client.session import Operation, Session, ask
from redkite.model.advice import AdviseIndex, IndexAdvices, MeasureRecall, RecallReport


def measure_recall(
    session: Session,
    collection_name: str,
    limit: int,
    queries: int,
    anns_field: str | None,
    search_params: Mapping[str, Any] | None,
) -> Operation[RecallReport]:
    """What searches of a collection find of the true neighbours."""
    request = MeasureRecall(
        database=session.database,
        collection=arguments.name("collection_name", collection_name),
        anns_field=arguments.optional_name("anns_field", anns_field),
        limit=arguments.integer("limit", limit),
        queries=arguments.integer("queries", queries),
        params=flat_params(search_params) if search_params else {},
    )
    return (yield from ask(request, RecallReport))


def advise_index(
    session: Session, collection_name: str, recall: float, limit: int, anns_field: str | None, sample: int
) -> Operation[IndexAdvices]:
    """What each type of index would cost and give."""
    request = AdviseIndex(
        database=session.database,
        collection=arguments.name("collection_name", collection_name),
        anns_field=arguments.optional_name("anns_field", anns_field),
        limit=arguments.integer("limit", limit),
        recall=float(recall),
        sample=arguments.integer("sample", sample),
    )
    return (yield from ask(request, IndexAdvices))
