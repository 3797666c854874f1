"""Requests that nothing is behind any more, and those about collections of files, of which there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Never

from redkite.errors import InvalidParameter, ServiceError
from redkite.model import external as ex
from redkite.model import legacy as lg
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.node.topology import Topology

DONE = rs.Done()
_UNAVAILABLE = 2
DUMMY = '{"status": "fail"}'
"""What a question gets that only tests of the protocol ask."""


class Legacy:
    def __init__(self, topology: Topology) -> None:
        self._root = topology.root

    def table(self) -> dict[type[rq.Request], Callable[[Any], rs.Result]]:
        """One method for each class of request."""
        return {
            lg.CalcDistance: self._calc_distance,
            lg.ReplicateMessage: self._replicate,
            lg.AddCollectionFunction: self._add_function,
            lg.DropCollectionFunction: self._drop_function,
            lg.RegisterLink: lambda _: DONE,
            lg.Dummy: lambda _: lg.DummyAnswer(text=DUMMY),
            ex.RefreshExternalCollection: self._refresh,
            ex.GetRefreshProgress: self._refresh_progress,
            ex.ListRefreshJobs: self._refresh_jobs,
        }

    def _calc_distance(self, _: lg.CalcDistance) -> Never:
        raise ServiceError("service unavailable: CalcDistance deprecated", _UNAVAILABLE)  # and it will not come back

    def _replicate(self, _: lg.ReplicateMessage) -> Never:
        raise ServiceError("service unavailable: not supported in streaming mode", _UNAVAILABLE)

    def _add_function(self, request: lg.AddCollectionFunction) -> Never:
        self._root.find(request.database, request.collection)
        raise InvalidParameter(
            "AddCollectionFunction is not supported, add the function together with its output field"
            " (AlterCollectionSchema)"
        )

    def _drop_function(self, request: lg.DropCollectionFunction) -> Never:
        self._root.find(request.database, request.collection)
        raise InvalidParameter(
            "DropCollectionFunction is not supported, drop the function together with its output field"
            " (AlterCollectionSchema)"
        )

    def _refresh(self, request: ex.RefreshExternalCollection) -> Never:
        meta = self._root.find(request.database, request.collection)
        raise InvalidParameter(f"collection {meta.name} is not an external collection")

    def _refresh_progress(self, request: ex.GetRefreshProgress) -> Never:
        raise InvalidParameter(f"refresh job not found, jobID={request.job_id}")

    def _refresh_jobs(self, request: ex.ListRefreshJobs) -> ex.RefreshJobs:
        if request.collection:
            self._root.find(request.database, request.collection)
        return ex.RefreshJobs(jobs=())
