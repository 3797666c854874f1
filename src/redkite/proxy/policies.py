"""Policies about rows: what a user's requests are narrowed to, so that it finds and changes only the rows it may.

Where a collection has policies for an action, a row may be touched in that way when one of those for the user's roles
lets it pass; with none for its roles, no row may. Administrators, and whoever owns the process, are not bound.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import orjson
import pyarrow as pa

from redkite.coordinator.access import AccessCoordinator
from redkite.coordinator.meta import CollectionMeta
from redkite.errors import InvalidParameter, PermissionDenied
from redkite.filter import compile_filter
from redkite.filter.columns import ArrowColumns
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.access import CreateRowPolicy, DropRowPolicy, ListRowPolicies, RowAction, RowPolicies, RowPolicy
from redkite.model.advice import AdviseIndex, MeasureRecall
from redkite.model.batch import arrow_type
from redkite.model.changes import AcknowledgeFeed, DropFeed, ReadChanges
from redkite.model.exchange import ExportSnapshot
from redkite.model.imports import ImportFiles
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.node.topology import Topology

if TYPE_CHECKING:
    from redkite.proxy.reads import Reads

NOTHING = "false"
_USER = re.compile(r"\$user\b")
_ACTIONS: dict[type[rq.Request], RowAction] = {
    rq.Query: RowAction.QUERY,
    rq.Search: RowAction.SEARCH,
    rq.HybridSearch: RowAction.SEARCH,
    rq.Delete: RowAction.DELETE,
    rq.Insert: RowAction.INSERT,
    rq.Upsert: RowAction.UPSERT,
    MeasureRecall: RowAction.SEARCH,
    AdviseIndex: RowAction.SEARCH,
}


_WHOLE: tuple[type[rq.Request], ...] = (
    rq.DropCollectionField, rq.AddCollectionField, rq.AddCollectionStructField, rq.AlterCollectionField,
    rq.AlterCollection, rq.AddFunctionField, rq.DropFunctionField, rq.AlterFunction, rq.DropPartition,
    rq.TruncateCollection, rq.DropCollection, rq.RenameCollection, rq.CreateSnapshot, rq.RestoreSnapshot,
    ExportSnapshot, ImportFiles, ReadChanges, AcknowledgeFeed, DropFeed,
)  # fmt: skip
"""What changes or copies a collection with the rows in it that its user may not touch."""


class Policies:
    """Safe from any thread."""

    def __init__(self, topology: Topology, reads: Reads) -> None:
        self._access: AccessCoordinator = topology.access
        self._root = topology.root
        self._reads = reads

    # -- what a request may touch ---------------------------------------------------------------
    def binds(self, request: rq.Request) -> bool:
        """Whether the request is about a collection with policies, and its user bound by them."""
        return bool(self._held(request)) and not self._access.permissions(request.user).everything

    def _held(self, request: rq.Request) -> tuple[RowPolicy, ...]:
        """All policies of the collection that a request names."""
        policies = self._access.picture.policies
        name = getattr(request, "collection", "")
        if not policies or not name or not self._root.exists(request.database, name):
            return ()
        return policies.get(self._root.find(request.database, name).collection_id, ())

    def narrowed(self, request: rq.Request) -> rq.Request:
        """The request over the rows that its user may touch. Raises PermissionDenied when it asks for others."""
        if not self.binds(request):
            return request
        if isinstance(request, _WHOLE):
            raise _denied(request, "the collection has row policies: this takes the role admin")
        action = _ACTIONS.get(type(request))
        held = [policy for policy in self._held(request) if action in policy.actions]
        if not held:
            return request
        roles = {role for user in self._access.users(request.user) for role in user.roles}
        own = [policy for policy in held if not policy.roles or roles & set(policy.roles)]
        return self._bounded(request, self._root.find(request.database, getattr(request, "collection", "")), own)

    def _bounded(self, request: rq.Request, meta: CollectionMeta, own: list[RowPolicy]) -> rq.Request:
        bound = _any_of([policy.using for policy in own], request.user)
        if isinstance(request, rq.Insert | rq.Upsert):
            written = _any_of([policy.check or policy.using for policy in own], request.user)
            return self._written(request, meta, bound, written)
        if isinstance(request, rq.HybridSearch):
            if request.explain:
                raise _denied(request, "an explanation would show the policies")
            parts = tuple(self._searched(part, request, meta, bound) for part in request.searches)
            return msgspec.structs.replace(request, searches=parts)
        if isinstance(request, rq.Search):
            return self._searched(request, request, meta, bound)
        if isinstance(request, rq.Query):
            if request.explain:
                raise _denied(request, "an explanation would show the policies")
            both = self._both(meta, request.filter, request.filter_params, bound)
            return msgspec.structs.replace(request, filter=both)
        if isinstance(request, rq.Delete):
            if request.condition is not None:
                raise _denied(request, "conditional deletes are not for rows under a policy")
            own_filter = compile_filter(request.filter, meta.schema, request.filter_params, purpose="delete")
            if own_filter.always_true:
                raise InvalidParameter(f"delete plan can't be empty or always true : {request.filter}")
            both = self._both(meta, request.filter, request.filter_params, bound)
            return msgspec.structs.replace(request, filter=both)
        raise _denied(request, "it reads rows that policies may hide")

    def _searched(self, search: rq.Search, whole: rq.Request, meta: CollectionMeta, bound: str) -> rq.Search:
        if search.queries.ids is not None:
            raise _denied(whole, "a search by ids reads vectors of rows that policies may hide")
        if search.tuning is not None and search.tuning.explain:
            raise _denied(whole, "an explanation would show the policies")
        both = self._both(meta, search.filter, search.filter_params, bound)
        return msgspec.structs.replace(search, filter=both)

    def _both(self, meta: CollectionMeta, own: str, params: dict[str, object], bound: str) -> str:
        """A filter that asks for both. The user's has to be one by itself: it may not end in the middle of ours."""
        if not own.strip():
            return bound
        compile_filter(own, meta.schema, params, zone=self._root.zone_of(meta))
        return f"({bound}) and ({own})"

    def _written(self, request: rq.Insert | rq.Upsert, meta: CollectionMeta, bound: str, written: str) -> rq.Request:
        """Rows to be written must pass; so must those they replace, which is looked at while nothing else writes."""
        if isinstance(request, rq.Upsert) and (request.partial or request.condition is not None):
            raise _denied(request, "partial and conditional upserts are not for rows under a policy")
        rows = request.rows if isinstance(request.rows, pa.RecordBatch) else request.rows.batch()
        schema = meta.schema
        condition = compile_filter(written, schema, zone=self._root.zone_of(meta))
        passing = condition.evaluate(ArrowColumns(_completed(rows, schema, condition.fields), schema))
        if not passing.all():
            raise _denied(request, f"row {int(passing.argmin())} does not pass a policy about what is written")
        if schema.primary.name not in rows.schema.names:
            return request  # the keys will be new
        return rq.Upsert(
            database=request.database,
            user=request.user,
            collection=request.collection,
            rows=rows,
            partition=request.partition,
            schema_timestamp=request.schema_timestamp,
            condition=rq.Condition(where=bound, or_absent=True),
        )

    # -- requests about policies ----------------------------------------------------------------
    def create(self, request: CreateRowPolicy) -> rs.Done:
        meta = self._root.find(request.database, request.collection)
        policy = request.policy
        if not policy.actions:
            raise InvalidParameter("a row policy needs at least one action", expected="Query, Search, …", actual="none")
        if not policy.using.strip() and not policy.check.strip():
            raise InvalidParameter("a row policy needs using_expr or check_expr")
        for text in (policy.using, policy.check):
            if text.strip():
                found = compile_filter(_named(text, "somebody"), meta.schema, zone=self._root.zone_of(meta))
                if found.sample is not None:
                    raise InvalidParameter("random_sample cannot stand in a row policy")
        existing = [known.collection_id for known in self._root.all_collections()]
        self._access.add_policy(meta.collection_id, policy, existing)
        return rs.Done()

    def drop(self, request: DropRowPolicy) -> rs.Done:
        self._access.drop_policy(self._root.find(request.database, request.collection).collection_id, request.name)
        return rs.Done()

    def listed(self, request: ListRowPolicies) -> RowPolicies:
        meta = self._root.find(request.database, request.collection)
        return RowPolicies(collection=meta.name, policies=self._access.picture.policies.get(meta.collection_id, ()))


def _any_of(texts: list[str], user: str) -> str:
    """A filter that lets pass what any of these does; of policies that say nothing, everything."""
    if not texts:
        return NOTHING
    if any(not text.strip() for text in texts):
        return "true"
    return " or ".join(f"({_named(text, user)})" for text in texts)


def _named(text: str, user: str) -> str:
    """A policy's filter with the user's name in it."""
    literal = orjson.dumps(user).decode()
    return _USER.sub(lambda _: literal, text)


def _completed(rows: pa.RecordBatch, schema: CollectionSchema, fields: frozenset[str]) -> pa.RecordBatch:
    """The rows with the fields that a filter looks at; those that are not given have their default, or null."""
    missing = [field for field in schema.fields if field.name in fields and field.name not in rows.schema.names]
    columns = [*rows.columns, *(_absent(field, rows.num_rows) for field in missing)]
    return pa.RecordBatch.from_arrays(columns, [*rows.schema.names, *(field.name for field in missing)])


def _absent(field: FieldSchema, rows: int) -> pa.Array:
    kind = arrow_type(field)
    if field.default_value is None:
        return pa.nulls(rows, kind)
    return pa.repeat(pa.scalar(field.default_value, kind), rows)


def _denied(request: rq.Request, why: str) -> PermissionDenied:
    return PermissionDenied(f"{type(request).__name__}: permission deny to {request.user}: {why}")
