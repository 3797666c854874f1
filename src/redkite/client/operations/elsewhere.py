"""Collections over files of other systems, and functions by themselves: what servers refuse."""

from __future__ import annotations

from dataclasses import dataclass

from redkite.client import arguments
from redkite.client.schema import Function
from redkite.client.session import Operation, Session, ask
from redkite.model import external as ex
from redkite.model import legacy as lg
from redkite.model.results import Done

_STATES = ("RefreshPending", "RefreshInProgress", "RefreshCompleted", "RefreshFailed")


@dataclass(frozen=True, slots=True)
class RefreshExternalCollectionJobInfo:
    """How far the refresh of a collection over files is. Times are milliseconds since 1970."""

    job_id: int
    collection_name: str
    state: str
    progress: int
    reason: str
    external_source: str
    start_time: int
    end_time: int
    external_spec: str = ""


# -- collections over files ---------------------------------------------------------------------
def refresh_external_collection(
    session: Session, collection_name: str, external_source: str, external_spec: str
) -> Operation[int]:
    request = ex.RefreshExternalCollection(
        database=session.database,
        collection=arguments.name("collection_name", collection_name),
        source=arguments.optional_name("external_source", external_source),
        spec=arguments.optional_name("external_spec", external_spec),
    )
    return (yield from ask(request, ex.RefreshJob)).job_id


def get_refresh_external_collection_progress(
    session: Session, job_id: int
) -> Operation[RefreshExternalCollectionJobInfo]:
    request = ex.GetRefreshProgress(database=session.database, job_id=arguments.integer("job_id", job_id))
    (job,) = (yield from ask(request, ex.RefreshJobs)).jobs
    return _shown(job)


def list_refresh_external_collection_jobs(
    session: Session, collection_name: str
) -> Operation[list[RefreshExternalCollectionJobInfo]]:
    name = arguments.optional_name("collection_name", collection_name)
    found = yield from ask(ex.ListRefreshJobs(database=session.database, collection=name), ex.RefreshJobs)
    return [_shown(job) for job in found.jobs]


def _shown(job: ex.RefreshJobInfo) -> RefreshExternalCollectionJobInfo:
    return RefreshExternalCollectionJobInfo(
        job_id=job.job_id,
        collection_name=job.collection,
        state=_STATES[job.state] if 0 <= job.state < len(_STATES) else str(job.state),
        progress=job.progress,
        reason=job.reason,
        external_source=job.source,
        start_time=job.start_ms,
        end_time=job.end_ms,
        external_spec=job.spec,
    )


# -- functions by themselves --------------------------------------------------------------------
def add_collection_function(session: Session, collection_name: str, function: Function) -> Operation[None]:
    name = arguments.name("collection_name", collection_name)
    if not isinstance(function, Function):
        raise arguments.wrong_type("function", Function, function)
    request = lg.AddCollectionFunction(database=session.database, collection=name, function=function.to_model())
    yield from ask(request, Done)


def drop_collection_function(session: Session, collection_name: str, function_name: str) -> Operation[None]:
    request = lg.DropCollectionFunction(
        database=session.database,
        collection=arguments.name("collection_name", collection_name),
        function=arguments.name("function_name", function_name),
    )
    yield from ask(request, Done)
