"""Imports over REST: three functions that need nothing but a URL."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from redkite.errors import ConnectError, MilvusException, ParamError, Unimplemented, from_code

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Response:
    """What the server answered."""

    status_code: int
    text: str

    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def ok(self) -> bool:
        return self.status_code < 400


def bulk_import(
    url: str,
    collection_name: str,
    db_name: str = "",
    files: Sequence[Sequence[str]] | None = None,
    api_key: str = "",
    partition_name: str = "",
    options: Mapping[str, str] | None = None,
    timeout: float = _SECONDS,
    **cloud: Any,
) -> Response:
    """Begin to make rows of files that the server can read; `response.json()["data"]["jobId"]` is the job.

    Args:
        url: Of the server, such as `http://localhost:19530`.
        collection_name: What the rows are for.
        db_name: Its database.
        files: Lists of files that belong together: one, or the NumPy files of some rows.
        api_key: `user:password`, or an API key.
        partition_name: Where the rows go.
        options: `timeout`, `sep`, `nullkey`, `auto_commit`.
        timeout: Seconds to wait for the answer.
        **cloud: What only a cloud service takes: it is refused unless empty.
    """
    _refuse(cloud)
    body = {
        "collectionName": collection_name,
        "dbName": db_name,
        "partitionName": partition_name,
        "files": [list(group) for group in files or ()],
        "options": dict(options or {}),
    }
    return _post(url, "create", body, api_key, db_name, timeout)


def get_import_progress(
    url: str, job_id: str | int, api_key: str = "", db_name: str = "", timeout: float = _SECONDS, **cloud: Any
) -> Response:
    """How far an import is."""
    _refuse(cloud)
    return _post(url, "describe", {"jobId": str(job_id)}, api_key, db_name, timeout)


def list_import_jobs(
    url: str,
    collection_name: str = "",
    db_name: str = "",
    api_key: str = "",
    page_size: int = 10,
    current_page: int = 1,
    timeout: float = _SECONDS,
    **cloud: Any,
) -> Response:
    """The imports of a collection, or of the database, the newest first."""
    _refuse(cloud)
    body = {
        "collectionName": collection_name,
        "dbName": db_name,
        "pageSize": page_size,
        "currentPage": current_page,
    }
    return _post(url, "list", body, api_key, db_name, timeout)


def _refuse(cloud: Mapping[str, Any]) -> None:
    known = (
        "object_url", "object_urls", "cluster_id", "project_id", "region_id", "access_key", "secret_key", "token",
        "volume_name", "data_paths", "verify", "cert",
    )  # fmt: skip
    for name, value in cloud.items():
        if name not in known:
            raise ParamError(f"unknown parameter {name}")
        if value and not (name == "verify" and value is True):
            raise Unimplemented(f"`{name}` is not supported by Redkite's bulk_import")


def _post(url: str, path: str, body: Mapping[str, Any], api_key: str, db_name: str, timeout: float) -> Response:
    if not url.startswith(("http://", "https://")):
        raise ParamError(f"url {url!r:.80} is no http:// or https:// address")
    headers = {"Content-Type": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    if db_name:
        headers["DB-Name"] = db_name
    request = Request(f"{url.rstrip('/')}/v2/vectordb/jobs/import/{path}", json.dumps(body).encode(), headers)
    try:
        with urlopen(request, timeout=timeout) as answer:
            response = Response(answer.status, answer.read().decode())
    except HTTPError as error:
        response = Response(error.code, error.read().decode(errors="replace"))
    except (URLError, OSError, http.client.HTTPException) as error:
        raise ConnectError(f"{url} does not answer: {error}") from error
    _check(response)
    return response


def _check(response: Response) -> None:
    """Raise what the answer says went wrong."""
    try:
        envelope = response.json()
        code, message = int(envelope.get("code", 0)), str(envelope.get("message", ""))
    except (ValueError, AttributeError):
        raise MilvusException(f"HTTP {response.status_code}: {response.text[:200]}") from None
    if code:
        raise from_code(code, message)
