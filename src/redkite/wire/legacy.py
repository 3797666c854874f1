"""Calls that nothing is behind any more, and those about collections of files."""

from __future__ import annotations

from typing import Any

from redkite.model import external as ex
from redkite.model import legacy as lg
from redkite.model.results import Done
from redkite.wire.codec import COLLECTION, Codec, codec, command, done, nothing, question
from redkite.wire.schemas import read_function, write_function


# -- functions by themselves --------------------------------------------------------------------
def _decode_add(message: Any, database: str) -> lg.AddCollectionFunction:
    return lg.AddCollectionFunction(
        database=database, collection=message.collection_name, function=read_function(message.functionSchema)
    )


def _pack_add(message: Any, request: lg.AddCollectionFunction) -> None:
    message.collection_name = request.collection
    write_function(message.functionSchema, request.function)


# -- answers ------------------------------------------------------------------------------------
def _decode_distance(_message: Any, database: str) -> lg.CalcDistance:
    return lg.CalcDistance(database=database)


def _pack_nothing(_message: Any, _request: lg.CalcDistance) -> None:
    """What would be computed of what is not looked at."""


def _encode_dummy(message: Any, result: lg.DummyAnswer) -> None:
    message.response = result.text


def _unpack_dummy(message: Any) -> lg.DummyAnswer:
    return lg.DummyAnswer(text=message.response)


# -- collections of files -----------------------------------------------------------------------
def _encode_job(message: Any, result: ex.RefreshJob) -> None:
    message.job_id = result.job_id


def _unpack_job(message: Any) -> ex.RefreshJob:
    return ex.RefreshJob(job_id=message.job_id)


def _encode_progress(message: Any, result: ex.RefreshJobs) -> None:
    (job,) = result.jobs
    _write_job(message.job_info, job)


def _unpack_progress(message: Any) -> ex.RefreshJobs:
    return ex.RefreshJobs(jobs=(_read_job(message.job_info),))


def _encode_jobs(message: Any, result: ex.RefreshJobs) -> None:
    for job in result.jobs:
        _write_job(message.jobs.add(), job)


def _unpack_jobs(message: Any) -> ex.RefreshJobs:
    return ex.RefreshJobs(jobs=tuple(_read_job(job) for job in message.jobs))


def _write_job(message: Any, job: ex.RefreshJobInfo) -> None:
    message.job_id = job.job_id
    message.collection_name = job.collection
    message.state = job.state
    message.progress = job.progress
    message.reason = job.reason
    message.external_source = job.source
    message.external_spec = job.spec
    message.start_time = job.start_ms
    message.end_time = job.end_ms


def _read_job(message: Any) -> ex.RefreshJobInfo:
    return ex.RefreshJobInfo(
        job_id=message.job_id,
        collection=message.collection_name,
        state=message.state,
        progress=message.progress,
        reason=message.reason,
        source=message.external_source,
        spec=message.external_spec,
        start_ms=message.start_time,
        end_ms=message.end_time,
    )


_EXTERNAL = {"source": "external_source", "spec": "external_spec"}

CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "AddCollectionFunction", lg.AddCollectionFunction, Done, decode=_decode_add, pack=_pack_add,
        encode=nothing, unpack=done,
    ),
    command("DropCollectionFunction", lg.DropCollectionFunction, {**COLLECTION, "function": "function_name"}),
    codec(
        "CalcDistance", lg.CalcDistance, Done, decode=_decode_distance, pack=_pack_nothing,
        encode=nothing, unpack=done,
    ),
    command("ReplicateMessage", lg.ReplicateMessage, {"channel": "channel_name"}),
    command("RegisterLink", lg.RegisterLink),
    question(
        "Dummy", lg.Dummy, lg.DummyAnswer, {"question": "request_type"}, encode=_encode_dummy, unpack=_unpack_dummy
    ),
    question(
        "RefreshExternalCollection", ex.RefreshExternalCollection, ex.RefreshJob, {**COLLECTION, **_EXTERNAL},
        encode=_encode_job, unpack=_unpack_job,
    ),
    question(
        "GetRefreshExternalCollectionProgress", ex.GetRefreshProgress, ex.RefreshJobs, {"job_id": "job_id"},
        encode=_encode_progress, unpack=_unpack_progress,
    ),
    question(
        "ListRefreshExternalCollectionJobs", ex.ListRefreshJobs, ex.RefreshJobs, COLLECTION,
        encode=_encode_jobs, unpack=_unpack_jobs,
    ),
)  # fmt: skip
