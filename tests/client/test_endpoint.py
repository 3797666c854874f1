"""URIs and their companions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from redkite.client.endpoint import Endpoint, endpoint
from redkite.errors import ConnectionConfigException, ParamError


def read(uri: Any, user: str = "", password: str = "", token: str = "", db_name: str = "", **options: Any) -> Endpoint:
    return endpoint(uri, user, password, token, db_name, options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("uri", "address", "secure"),
    [
        ("http://localhost:19530", "localhost:19530", False),
        ("http://example.org", "example.org:19530", False),
        ("tcp://10.0.0.1:1234", "10.0.0.1:1234", False),
        ("https://example.org", "example.org:443", True),
        ("HTTPS://example.org:19530", "example.org:19530", True),
        ("http://[::1]:19530", "[::1]:19530", False),
        ("unix:/run/redkite.sock", "unix:/run/redkite.sock", False),
    ],
)
def test_addresses_are_read_from_uris(uri: str, address: str, secure: bool) -> None:
    made = read(uri)
    assert (made.address, made.secure, made.embedded) == (address, secure, False)


def test_credentials_and_database_may_be_part_of_the_uri() -> None:
    made = read("https://ann:p%40ss@example.org/lab")
    assert (made.token, made.database) == ("ann:p@ss", "lab")
    made = read("https://ann:secret@example.org/lab", token="key", db_name="other")
    assert (made.token, made.database) == ("key", "other")
    assert read("http://h", user="ann", password="pw").token == "ann:pw"
    assert read("http://h", user="ann").token == ""


def test_the_type_of_server_follows_from_its_name() -> None:
    assert read("http://h").server_type == "milvus"
    assert read("https://in01.vectordb.zillizcloud.com:19538").server_type == "zilliz"


def test_a_path_ending_in_db_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = read(str(tmp_path / "x.db"))
    assert made.embedded
    assert read(tmp_path / "x.db") == made
    monkeypatch.chdir(tmp_path)
    assert read("./x.db") == read("x.db") == made


def test_two_spellings_of_one_file_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read(tmp_path / "link" / "x.db") == read(tmp_path / "real" / "x.db")


@pytest.mark.parametrize("uri", ["localhost:19530", "ftp://h", "demo", "", "/data/demo", "http://h:port"])
def test_a_uri_of_another_kind_is_refused(uri: str) -> None:
    wanted = f"uri: {uri} is illegal, needs start with [unix, http, https, tcp] or a local file endswith [.db]"
    with pytest.raises(ConnectionConfigException) as caught:
        read(uri)
    assert caught.value.message.startswith(wanted)


def test_a_database_in_memory_is_refused_with_advice() -> None:
    with pytest.raises(ConnectionConfigException, match="no databases in memory; give a path in a temporary folder"):
        read(":memory:")


def test_a_file_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConnectionConfigException, match=f"Open local milvus failed, dir: {tmp_path}/no not exists"):
        read(f"{tmp_path}/no/x.db")


def test_a_file_takes_no_credentials_and_no_connection_arguments(tmp_path: Path) -> None:
    with pytest.raises(ConnectionConfigException, match="takes no user, password or token"):
        read(tmp_path / "x.db", token="root:Milvus")
    with pytest.raises(ConnectionConfigException, match="takes no connection argument `secure`"):
        read(tmp_path / "x.db", secure=True)


def test_unknown_connection_arguments_are_refused() -> None:
    with pytest.raises(ParamError, match="unknown connection argument `tls`"):
        read("http://h", tls=True)
    with pytest.raises(ParamError, match="secure must be bool type"):
        read("http://h", secure="yes")
    assert read("http://h", secure=True, server_name="x", dedicated=True).dedicated
