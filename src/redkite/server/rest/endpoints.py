"""Every endpoint of REST v2 that is served, by its path."""

from __future__ import annotations

from redkite.server.rest import (
    access,
    aliases,
    analysis,
    collections,
    databases,
    entities,
    evolution,
    exporting,
    hybrid,
    imports,
    indexes,
    keeping,
    partitions,
    placement,
    quotas,
)
from redkite.server.rest.exchange import Endpoint

BASE = "/v2/vectordb/"
ENDPOINTS: dict[str, Endpoint] = {
    BASE + path: endpoint
    for module in (
        collections, databases, entities, hybrid, evolution, partitions, indexes, aliases, keeping, exporting, access,
        analysis, quotas, placement, imports,
    )
    for path, endpoint in module.ENDPOINTS.items()
}  # fmt: skip
