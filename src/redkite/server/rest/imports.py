"""REST: imports. Ids of jobs travel as text, times as RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from redkite.errors import ImportFailed, InvalidParameter
from redkite.model.imports import (
    AbortImport,
    CommitImport,
    DescribeImport,
    ImportedFile,
    ImportFiles,
    ImportInfo,
    ImportInfos,
    ImportStarted,
    ListImports,
)
from redkite.server.rest.bodies import Body
from redkite.server.rest.exchange import Endpoint, Exchange, answer, texts

_CLOUD = ("cluster_id", "project_id", "region_id")
_ELSEWHERE = ("access_key", "secret_key", "token", "volume_name", "data_paths")


class ImportBody(Body, frozen=True):
    """Keys of Zilliz Cloud are known, as Milvus's SDK sends all of them, empty; one that is not is refused."""

    cluster_id: str = ""
    project_id: str = ""
    region_id: str = ""


class CreateImportReq(ImportBody, frozen=True):
    title = "ImportReq"
    required = ("collection_name",)
    collection_name: str = ""
    partition_name: str = ""
    files: tuple[tuple[str, ...], ...] = ()
    options: dict[str, Any] = {}
    object_url: str = ""
    object_urls: tuple[tuple[str, ...], ...] = ()
    access_key: str = ""
    secret_key: str = ""
    token: str = ""
    volume_name: str = ""
    data_paths: tuple[tuple[str, ...], ...] = ()


class ImportJobReq(ImportBody, frozen=True):
    title = "JobIDReq"
    required = ("job_id",)
    job_id: str | int = ""


class ListImportsReq(ImportBody, frozen=True):
    collection_name: str = ""
    page_size: int = 0
    current_page: int = 0


def _refuse(body: Body, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if getattr(body, name):
            key = dict(zip(body.__struct_fields__, body.__struct_encode_fields__, strict=True))[name]
            raise InvalidParameter(f"{key} {why}")


async def _create(exchange: Exchange, body: CreateImportReq) -> bytes:
    _refuse(body, _CLOUD, "is for a cloud service, and this is none")
    _refuse(body, _ELSEWHERE, "cannot be given with an import: where files may lie is a setting of the server")
    groups = body.files or body.object_urls or (((body.object_url,),) if body.object_url else ())
    request = ImportFiles(
        database=exchange.database,
        collection=body.collection_name,
        partition=body.partition_name,
        groups=groups,
        options=texts(body.options),
    )
    started = await exchange.ask(request, ImportStarted)
    return answer({"jobId": str(started.job_id)})


async def _describe(exchange: Exchange, body: ImportJobReq) -> bytes:
    _refuse(body, _CLOUD, "is for a cloud service, and this is none")
    job = await exchange.ask(DescribeImport(database=exchange.database, job_id=_number(body.job_id)), ImportInfo)
    return answer(
        {
            **_brief(job),
            "importedRows": job.rows,
            "totalRows": job.total_rows,
            "fileSize": job.size,
            "createTime": _time(job.created_ms),
            "completeTime": _time(job.completed_ms),
            "details": list(map(_detail, job.files)),
        }
    )


async def _list(exchange: Exchange, body: ListImportsReq) -> bytes:
    _refuse(body, _CLOUD, "is for a cloud service, and this is none")
    request = ListImports(database=exchange.database, collection=body.collection_name)
    jobs = (await exchange.ask(request, ImportInfos)).jobs
    if body.page_size > 0:
        first = body.page_size * max(0, body.current_page - 1)
        jobs = jobs[::-1][first : first + body.page_size]
    return answer({"records": list(map(_brief, jobs))})


async def _commit(exchange: Exchange, body: ImportJobReq) -> bytes:
    return await exchange.tell(CommitImport(database=exchange.database, job_id=_number(body.job_id)))


async def _abort(exchange: Exchange, body: ImportJobReq) -> bytes:
    return await exchange.tell(AbortImport(database=exchange.database, job_id=_number(body.job_id)))


def _brief(job: ImportInfo) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "jobId": str(job.job_id),
        "collectionName": job.collection,
        "state": job.state.shown,
        "progress": job.progress,
    }
    return {**shown, "reason": job.reason} if job.reason else shown


def _detail(file: ImportedFile) -> dict[str, Any]:
    share = 100 * file.rows // file.total_rows if file.total_rows else 0
    shown: dict[str, Any] = {
        "fileName": file.name,
        "fileSize": file.size,
        "state": file.state.shown,
        "progress": share,
        "importedRows": file.rows,
        "totalRows": file.total_rows,
        "completeTime": _time(file.completed_ms),
    }
    return {**shown, "reason": file.reason} if file.reason else shown


def _time(moment: int) -> str:
    """Milliseconds since the epoch; an empty text for what has not happened."""
    return datetime.fromtimestamp(moment // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def _number(value: str | int) -> int:
    try:
        return int(value)
    except ValueError:
        raise ImportFailed(f"parse jobID failed, {value!r:.80} is not a number") from None


ENDPOINTS = {
    "jobs/import/create": Endpoint(CreateImportReq, _create),
    "jobs/import/describe": Endpoint(ImportJobReq, _describe),
    "jobs/import/get_progress": Endpoint(ImportJobReq, _describe),
    "jobs/import/list": Endpoint(ListImportsReq, _list),
    "jobs/import/commit": Endpoint(ImportJobReq, _commit),
    "jobs/import/abort": Endpoint(ImportJobReq, _abort),
}
