"""A bulk writer whose files end in a store of objects: S3 and what speaks its protocol, or Azure."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redkite.bulk_writer.local import MB, LocalBulkWriter
from redkite.client.schema import CollectionSchema
from redkite.errors import ParamError, StorageError
from redkite.formats.writers import BulkFileType
from redkite.storage.remote_objects import RemoteObjects

DEFAULT_BUCKET_NAME = "a-bucket"


@dataclass(frozen=True, slots=True)
class S3ConnectParam:
    """A bucket of S3, MinIO and their kin. `endpoint` as `host:port`, or a URL; without it, Amazon's own. Keys that are
    not given come from the environment, as the provider's own tools read them."""

    bucket_name: str = DEFAULT_BUCKET_NAME
    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    secure: bool = False
    enable_virtual_style_endpoint: bool = False
    session_token: str | None = None
    region: str | None = None
    http_client: object = None
    credentials: object = None

    def __repr__(self) -> str:
        return f"S3ConnectParam(bucket_name={self.bucket_name!r}, endpoint={self.endpoint!r})"

    def open(self, prefix: str) -> RemoteObjects:
        if self.http_client is not None or self.credentials is not None:
            raise ParamError("http_client and credentials are objects of the library minio, which is not used here")
        config: dict[str, Any] = {"virtual_hosted_style_request": self.enable_virtual_style_endpoint}
        url = self.endpoint or ""
        if url and "://" not in url:
            url = f"{'https' if self.secure else 'http'}://{url}"
        if url:
            config["endpoint"] = url
        named = {"access_key_id": self.access_key, "secret_access_key": self.secret_key, "token": self.session_token}
        config |= {key: value for key, value in named.items() if value is not None}
        config["region"] = self.region or "us-east-1"
        store = _obstore().S3Store(
            self.bucket_name, prefix=prefix, config=config, client_options={"allow_http": url.startswith("http://")}
        )
        return RemoteObjects(store, f"s3://{self.bucket_name}/{prefix}")


@dataclass(frozen=True, slots=True)
class AzureConnectParam:
    """A container of Azure. Its connection string, or the account's URL and a key of it."""

    container_name: str
    conn_str: str
    account_url: str | None = None
    credential: str | Mapping[str, str] | None = None
    upload_chunk_size: int = 8 * MB
    upload_concurrency: int = 4

    def __repr__(self) -> str:
        return f"AzureConnectParam(container_name={self.container_name!r})"

    def open(self, prefix: str) -> RemoteObjects:
        if (self.upload_chunk_size, self.upload_concurrency) != (8 * MB, 4):
            raise ParamError(
                "upload_chunk_size and upload_concurrency cannot be chosen: files go up in pieces of 8 MiB"
            )
        given = dict(part.partition("=")[::2] for part in self.conn_str.split(";") if part)
        credential = self.credential if isinstance(self.credential, Mapping) else {"account_key": self.credential}
        host = urlsplit(self.account_url or "").netloc
        account = given.get("AccountName") or credential.get("account_name") or host.partition(".")[0]
        key = given.get("AccountKey") or credential.get("account_key")
        if not account:
            raise ParamError("the connection parameters name no account: give conn_str, or account_url and credential")
        config: dict[str, Any] = {"account_name": account}
        if key:
            config["account_key"] = key
        endpoint = given.get("BlobEndpoint") or self.account_url
        if endpoint:
            config["endpoint"] = endpoint
        allow = bool(endpoint and endpoint.startswith("http://"))
        store = _obstore().AzureStore(
            self.container_name, prefix=prefix, config=config, client_options={"allow_http": allow}
        )
        return RemoteObjects(store, f"az://{self.container_name}/{prefix}")


def _obstore() -> Any:
    try:
        from obstore import store
    except ModuleNotFoundError as error:
        raise StorageError("a store of objects needs obstore, which is not installed: pip install 'redkite[s3]'") from (
            error
        )
    return store


ConnectParams = S3ConnectParam | AzureConnectParam


class RemoteBulkWriter(LocalBulkWriter):
    """As `LocalBulkWriter`; the files of each commit go to a store of objects and are removed here."""

    S3ConnectParam = S3ConnectParam
    ConnectParam = S3ConnectParam
    AzureConnectParam = AzureConnectParam

    def __init__(
        self,
        schema: CollectionSchema,
        remote_path: str,
        connect_param: ConnectParams,
        chunk_size: int = 1024 * MB,
        file_type: BulkFileType = BulkFileType.PARQUET,
        config: Mapping[str, str] | None = None,
        *,
        local_path: str | Path | None = None,
        segment_size: int = 0,
    ) -> None:
        """Connect to nothing yet.

        Args:
            schema: Of the collection that the rows are for.
            remote_path: Objects are called `remote_path/uuid/1.parquet` and so on.
            connect_param: Where the bucket or container is.
            chunk_size: Bytes of rows that become a file.
            file_type: What kind of file.
            config: For CSV files `sep` and `nullkey`.
            local_path: Where files are until they are away; by default a new folder among the temporary files.
            segment_size: The former name of `chunk_size`.
        """
        if not isinstance(connect_param, S3ConnectParam | AzureConnectParam):
            raise ParamError(
                f"connect_param is S3ConnectParam or AzureConnectParam, not {type(connect_param).__name__}"
            )
        self._temporary = None if local_path is not None else tempfile.TemporaryDirectory(prefix="bulk-writer-")
        here = self._temporary.name if self._temporary is not None else str(local_path)
        super().__init__(schema, here, chunk_size, file_type, config, segment_size=segment_size)
        self._prefix = "/".join([*(part for part in remote_path.split("/") if part), self.uuid])
        self._store = connect_param.open(self._prefix)

    def _keep(self, files: list[Path]) -> list[str]:
        names = []
        for file in files:
            name = file.relative_to(self._folder).as_posix()
            with file.open("rb") as content:
                self._store.put_file(name, content)
            names.append(f"{self._prefix}/{name}")
        for file in files:
            file.unlink()
            if file.parent != self._folder and not any(file.parent.iterdir()):
                file.parent.rmdir()
        return names

    @property
    def data_path(self) -> Path:
        """Where the objects are, in their bucket."""
        return Path("/") / self._prefix

    def _clear(self) -> None:
        super()._clear()
        if self._temporary is not None:
            self._temporary.cleanup()
