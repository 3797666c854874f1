"""The words of texts, and the files that analyzers read, through every SDK and REST."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

from redkite.model.analysis import ComputePhraseMatchSlop
from redkite.text.tokens import token_hash
from redkite.wire.methods import PATHS, decode_reply, encode_request

ENGLISH = {"type": "english"}
MULTI = {
    "by_field": "lang",
    "analyzers": {"default": {}, "en": {"type": "english"}, "zh": {"type": "chinese"}},
    "alias": {"english": "en"},
}


def stop(where: dict[str, str]) -> dict[str, Any]:
    return {"tokenizer": "standard", "filter": ["lowercase", {"type": "stop", "stop_words_file": where}]}


def remote(name: str) -> dict[str, str]:
    return {"type": "remote", "resource_name": name, "file_name": "words.txt"}


def make(sdk: Sdk, client: Any, name: str, **params: Any) -> None:
    types = sdk.module.DataType
    schema = client.create_schema(auto_id=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=2)
    schema.add_field("lang", types.VARCHAR, max_length=10)
    schema.add_field("plain", types.VARCHAR, max_length=10)
    schema.add_field("t", types.VARCHAR, **{"max_length": 100, "enable_analyzer": True, **params})
    client.create_collection(name, schema=schema)


def refused(sdk: Sdk, call: Any, *arguments: Any, code: int = 1100, **more: Any) -> str:
    with pytest.raises(sdk.module.MilvusException) as caught:
        call(*arguments, **more)
    assert caught.value.code == code, caught.value
    return str(caught.value.message)


@pytest.fixture
def home(sdk: Sdk, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder in which files may be named: of this process any, of a server its own."""
    folder = tmp_path if sdk.embedded else Path(f"{request.getfixturevalue('server').data}-files")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def resource(client: Any, home: Path) -> Iterator[tuple[str, Path]]:
    """A name no file resource has yet, and a file with the words `hello` and `dogs`."""
    chosen = f"r_{uuid.uuid4().hex}"
    path = home / f"{chosen}.txt"
    path.write_text("hello\ndogs\n")
    yield chosen, path
    client.remove_file_resource(chosen)


# -- run_analyzer -------------------------------------------------------------------------------
def test_one_text_gives_words_and_several_give_a_list_of_them(client: Any) -> None:
    assert list(client.run_analyzer("Running Dogs", ENGLISH).tokens) == ["run", "dog"]
    assert str(client.run_analyzer("Running Dogs", json.dumps(ENGLISH))) == "['run', 'dog']"
    assert [list(one.tokens) for one in client.run_analyzer(["A b", "", "Ünï 中文"])] == [
        ["a", "b"],
        [],
        ["ünï", "中文"],
    ]
    assert client.run_analyzer([]) == []
    assert list(client.run_analyzer("").tokens) == []


def test_details_and_hashes_are_given_when_asked_for(client: Any) -> None:
    params = {"type": "standard", "stop_words": ["the"]}
    detailed = client.run_analyzer("The Ünï é dogs", params, with_detail=True, with_hash=True).tokens
    assert [
        (t.token, t.start_offset, t.end_offset, t.position, t.position_length, t["hash"]) for t in detailed
    ] == [
        ("ünï", 4, 7, 1, 1, token_hash("ünï")), ("é", 8, 9, 2, 1, token_hash("é")),
        ("dogs", 10, 14, 3, 1, token_hash("dogs")),
    ]  # fmt: skip
    (hashed,) = client.run_analyzer("hello", with_hash=True).tokens
    assert (hashed.token, hashed.hash) == ("hello", 907060870)
    (placed,) = client.run_analyzer(["x a"], {"type": "standard", "stop_words": ["x"]}, with_detail=True)[0].tokens
    assert placed["position"] == 1
    with pytest.raises((KeyError, AttributeError)):
        _ = placed.hash


def test_a_wrong_analyzer_is_refused_in_milvuss_words(sdk: Sdk, client: Any) -> None:
    for params, text in (
        ({"type": "x"}, "unknown build-in analyzer type: x"),
        ({"filter": []}, "tokenizer name or type must be set"),
        ({"tokenizer": "standard", "filter": ["x"]}, "build analyzer failed, filter not found :x"),
        ("{", "analyzer_params is no valid JSON"),
    ):
        assert text in refused(sdk, client.run_analyzer, "a", params)
    assert "grpc" in refused(sdk, client.run_analyzer, "a", {"tokenizer": {"type": "grpc"}}, code=10)


def test_the_analyzer_of_a_field(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, analyzer_params=ENGLISH)
    found = client.run_analyzer(["Running Dogs"], collection_name=name, field_name="t")
    assert [list(one.tokens) for one in found] == [["run", "dog"]]
    field = {"collection_name": name, "field_name": "t"}
    assert "analyzer_names are for" in refused(sdk, client.run_analyzer, "a", **field, analyzer_names="en")
    assert "not both" in refused(sdk, client.run_analyzer, "a", ENGLISH, **field)
    assert "both collection_name and field_name" in refused(sdk, client.run_analyzer, "a", collection_name=name)
    plain = {"collection_name": name, "field_name": "plain"}
    assert "not enable analyzer" in refused(sdk, client.run_analyzer, "a", **plain)
    refused(sdk, client.run_analyzer, "a", collection_name=name, field_name="nope", code=1700)
    refused(sdk, client.run_analyzer, "a", collection_name="nope", field_name="t", code=100)


def test_a_field_with_an_analyzer_for_each_language(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, multi_analyzer_params=MULTI)

    def words(texts: list[str], names: Any) -> list[list[str]]:
        found = client.run_analyzer(texts, collection_name=name, field_name="t", analyzer_names=names)
        return [list(one.tokens) for one in found]

    assert words(["running dogs"] * 3, ["en", "default", "english"]) == [
        ["run", "dog"], ["running", "dogs"], ["run", "dog"],
    ]  # fmt: skip
    assert words(["running dogs", "中文测试"], "zh") == [["running", "dogs"], ["中文", "测试"]]
    assert words(["Dogs"], None) == [["dogs"]]
    field = {"collection_name": name, "field_name": "t"}
    assert "no analyzer named fr" in refused(sdk, client.run_analyzer, "a", **field, analyzer_names="fr")
    assert "give one, or one for each" in refused(
        sdk, client.run_analyzer, ["a", "b", "c"], **field, analyzer_names=["en", "zh"]
    )


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
async def test_the_awaited_client_does_the_same(sdk: Sdk, home: Path) -> None:
    path = home / f"{uuid.uuid4().hex}.txt"
    path.write_text("dogs\n")
    async with sdk.connect_async() as client:
        assert await client.run_analyzer("Running Dogs", ENGLISH) == ["run", "dog"]
        chosen = f"r_{uuid.uuid4().hex}"
        await client.add_file_resource(chosen, str(path))
        assert (chosen, str(path)) in [(r.name, r.path) for r in await client.list_file_resources()]
        assert await client.run_analyzer("Hello dogs", stop(remote(chosen))) == ["hello"]
        await client.remove_file_resource(chosen)


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_our_results_are_lists(sdk: Sdk, client: Any) -> None:
    found = client.run_analyzer("A b", with_detail=True)
    assert isinstance(found, list) and found[0] == found.tokens[0]
    assert found[0]["token"] == found[0].token == "a"
    assert client.run_analyzer(["a", "b"]) == [["a"], ["b"]]
    for wrong in (5, ["a", 5], ["a\ud800"], None):
        with pytest.raises(sdk.module.ParamError):
            client.run_analyzer(wrong)


# -- schemas ------------------------------------------------------------------------------------
def test_a_schema_keeps_its_analyzers_and_gives_them_back(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, analyzer_params=ENGLISH, enable_match=True)
    (field,) = [f for f in client.describe_collection(name)["fields"] if f["name"] == "t"]
    given = {key: str(value) for key, value in field["params"].items()}
    assert json.loads(given.pop("analyzer_params")) == ENGLISH
    assert {key: value.lower() for key, value in given.items()} == {
        "max_length": "100", "enable_analyzer": "true", "enable_match": "true",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"analyzer_params": {"type": "x"}}, "unknown build-in analyzer type: x"),
        ({"analyzer_params": {"tokenizer": "standard", "filter": "x"}}, "filter params should be array"),
        ({"analyzer_params": ENGLISH, "enable_analyzer": False}, "does not set enable_analyzer"),
        ({"analyzer_params": ENGLISH, "multi_analyzer_params": MULTI}, "cannot have both"),
        ({"multi_analyzer_params": {**MULTI, "by_field": "nope"}}, "multi analyzer dependent field nope not exist"),
        ({"multi_analyzer_params": {**MULTI, "by_field": "id"}}, "multi analyzer now only support by varchar field"),
        ({"multi_analyzer_params": MULTI, "enable_match": True}, "multi analyzer now only support for bm25"),
        ({"analyzer_params": stop(remote("nope"))}, "file resource nope not found"),
    ],
)
def test_a_collection_with_a_wrong_analyzer_is_not_made(
    sdk: Sdk, client: Any, name: str, params: dict[str, Any], expected: str
) -> None:
    assert expected in refused(sdk, make, sdk, client, name, **params)
    assert not client.has_collection(name)


def test_a_text_field_may_have_an_analyzer_and_it_stays(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    schema = client.create_schema(auto_id=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=2)
    schema.add_field("t", types.TEXT, enable_analyzer=True, enable_match=True, analyzer_params=ENGLISH)
    client.create_collection(name, schema=schema)
    assert list(client.run_analyzer("dogs", collection_name=name, field_name="t").tokens) == ["dog"]
    changed = {"analyzer_params": '{"type":"standard"}'}
    assert "does not allow update" in refused(sdk, client.alter_collection_field, name, "t", changed)


def test_an_added_field_may_have_an_analyzer(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name)
    types = sdk.module.DataType
    more: dict[str, Any] = {"nullable": True, "max_length": 50, "enable_analyzer": True}
    client.add_collection_field(name, "more", types.VARCHAR, **more, analyzer_params=ENGLISH)
    assert list(client.run_analyzer("dogs", collection_name=name, field_name="more").tokens) == ["dog"]
    assert "unknown build-in" in refused(
        sdk, client.add_collection_field, name, "bad", types.VARCHAR, **more, analyzer_params={"type": "x"}
    )


def test_the_field_that_chooses_analyzers_stays_while_it_is_asked(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, multi_analyzer_params=MULTI)
    types = sdk.module.DataType
    more: dict[str, Any] = {"nullable": True, "max_length": 50, "enable_analyzer": True}
    multi = {**MULTI, "by_field": "nope"}
    assert "dependent field nope" in refused(
        sdk, client.add_collection_field, name, "more", types.VARCHAR, **more, multi_analyzer_params=multi
    )
    client.add_collection_field(name, "more", types.VARCHAR, **more, multi_analyzer_params=MULTI)
    assert "chooses the analyzer of field t" in refused(sdk, client.drop_collection_field, name, "lang")
    client.drop_collection_field(name, "t")
    assert "chooses the analyzer of field more" in refused(sdk, client.drop_collection_field, name, "lang")
    client.drop_collection_field(name, "more")
    client.drop_collection_field(name, "lang")


# -- files --------------------------------------------------------------------------------------
def test_a_collection_keeps_the_words_of_a_file_that_is_removed(
    sdk: Sdk, client: Any, name: str, resource: tuple[str, Path]
) -> None:
    chosen, path = resource
    client.add_file_resource(chosen, str(path))
    client.add_file_resource(chosen, str(path))
    assert [(r.name, r.path) for r in client.list_file_resources() if r.name == chosen] == [(chosen, str(path))]
    assert list(client.run_analyzer("Hello big dogs", stop(remote(chosen))).tokens) == ["big"]
    make(sdk, client, name, analyzer_params=stop(remote(chosen)))
    path.write_text("big\n")
    client.remove_file_resource(chosen)
    client.remove_file_resource(chosen)
    assert chosen not in [r.name for r in client.list_file_resources()]
    field = {"collection_name": name, "field_name": "t"}
    assert list(client.run_analyzer("Hello big dogs", **field).tokens) == ["big"]
    (described,) = [f for f in client.describe_collection(name)["fields"] if f["name"] == "t"]
    assert described["params"].keys() == {"max_length", "enable_analyzer", "analyzer_params"}
    assert "not found" in refused(sdk, client.run_analyzer, "a", stop(remote(chosen)))
    client.add_file_resource(chosen, str(path))
    assert list(client.run_analyzer("Hello big dogs", stop(remote(chosen))).tokens) == ["hello", "dogs"]
    assert list(client.run_analyzer("Hello big dogs", **field).tokens) == ["big"]


def test_a_file_where_the_database_runs(client: Any, resource: tuple[str, Path]) -> None:
    local = {"type": "local", "path": str(resource[1])}
    assert list(client.run_analyzer("Hello big dogs", stop(local)).tokens) == ["big"]


@pytest.mark.parametrize("sdk", ["pymilvus", "redkite"], indirect=True, scope="session")
def test_a_server_tells_nothing_of_files_elsewhere(sdk: Sdk, client: Any, name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret line\n")
    local = {"type": "local", "path": str(secret)}
    for params in (stop(local), {"tokenizer": {"type": "jieba", "extra_dict_file": local}}):
        for message in (
            refused(sdk, client.run_analyzer, "a", params),
            refused(sdk, make, sdk, client, name, analyzer_params=params),
        ):
            assert "files of this server lie below" in message and "secret line" not in message
    assert "files of this server lie below" in refused(sdk, client.add_file_resource, "x", str(secret))
    assert "files of this server lie below" in refused(sdk, client.add_file_resource, "x", "../../../etc/passwd")


def test_a_missing_file_and_a_second_path_are_refused(sdk: Sdk, client: Any, resource: tuple[str, Path]) -> None:
    chosen, path = resource
    assert "file resource path not exist" in refused(sdk, client.add_file_resource, chosen, f"{path}.none")
    client.add_file_resource(chosen, str(path))
    assert "already exists" in refused(sdk, client.add_file_resource, chosen, f"{path}.none")


@pytest.mark.parametrize("sdk", ["embedded"], indirect=True, scope="session")
def test_files_and_the_words_of_collections_survive_a_restart(sdk: Sdk, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("hello\n")
    uri = str(tmp_path / "own.db")
    with sdk.module.MilvusClient(uri) as client:
        client.add_file_resource("words", str(path))
        make(sdk, client, "c", analyzer_params=stop(remote("words")))
    path.unlink()
    with sdk.module.MilvusClient(uri) as client:
        assert [r.name for r in client.list_file_resources()] == ["words"]
        assert client.run_analyzer("Hello dogs", stop(remote("words"))) == ["dogs"]
        client.remove_file_resource("words")
    with sdk.module.MilvusClient(uri) as client:
        assert client.list_file_resources() == []
        assert client.run_analyzer("Hello dogs", collection_name="c", field_name="t") == ["dogs"]


@pytest.mark.parametrize("sdk", ["embedded"], indirect=True, scope="session")
def test_a_reader_beside_the_writer_finds_the_same_words(sdk: Sdk, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("hello\n")
    uri = str(tmp_path / "own.db")
    with sdk.module.MilvusClient(uri) as writer, sdk.module.MilvusClient(uri, read_only=True) as reader:
        assert reader.list_file_resources() == []
        writer.add_file_resource("words", str(path))
        make(sdk, writer, "c", analyzer_params=stop(remote("words")))
        assert [r.name for r in reader.list_file_resources()] == ["words"]
        assert reader.run_analyzer("Hello dogs", stop(remote("words"))) == ["dogs"]
        assert reader.run_analyzer("Hello dogs", collection_name="c", field_name="t") == ["dogs"]
        with pytest.raises(sdk.module.MilvusException, match="read_only"):
            reader.remove_file_resource("words")


@pytest.mark.parametrize("sdk", ["embedded"], indirect=True, scope="session")
def test_a_restored_collection_needs_no_file(sdk: Sdk, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("hello\n")
    with sdk.module.MilvusClient(str(tmp_path / "one.db")) as client:
        client.add_file_resource("words", str(path))
        make(sdk, client, "c", analyzer_params=stop(remote("words")))
        client.create_backup(str(tmp_path / "kept"), "b")
    path.unlink()
    with sdk.module.MilvusClient(str(tmp_path / "two.db")) as client:
        client.restore_backup(str(tmp_path / "kept"), "b")
        assert client.run_analyzer("Hello dogs", collection_name="c", field_name="t") == ["dogs"]


# -- REST ---------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def rest(server: ProcessServer) -> Rest:
    return Rest(server.uri)


def test_words_over_rest(rest: Rest) -> None:
    body: dict[str, Any] = {"text": ["Running Dogs", ""], "analyzerParams": json.dumps(ENGLISH)}
    assert rest.ok("common/run_analyzer", body) == {
        "results": [{"tokens": [{"token": "run"}, {"token": "dog"}]}, {"tokens": []}]
    }
    detailed = rest.ok("common/run_analyzer", {"text": ["Hello"], "withDetail": True, "withHash": True})
    assert detailed["results"][0]["tokens"] == [
        {"token": "hello", "startOffset": 0, "endOffset": 5, "position": 0, "positionLength": 1, "hash": 907060870}
    ]
    assert rest.error("common/run_analyzer", {"text": ["a"], "analyzerParams": '{"type":"x"}'}) == (
        1100, "unknown build-in analyzer type: x: invalid parameter",
    )  # fmt: skip
    assert rest.error("common/run_analyzer", {"analyzerParams": "{}"})[0] == 1802
    assert rest.error("common/run_analyzer", {"text": "a"})[0] == 1801


@pytest.mark.parametrize("sdk", ["redkite"], indirect=True, scope="session")
def test_words_of_a_field_over_rest(sdk: Sdk, client: Any, name: str, rest: Rest) -> None:
    make(sdk, client, name, multi_analyzer_params=MULTI)
    body = {"text": ["Dogs", "Dogs"], "collectionName": name, "fieldName": "t", "analyzerNames": ["en", "default"]}
    assert rest.ok("common/run_analyzer", body) == {
        "results": [{"tokens": [{"token": "dog"}]}, {"tokens": [{"token": "dogs"}]}]
    }


@pytest.mark.parametrize("params", [ENGLISH, json.dumps(ENGLISH)], ids=["object", "text"])
def test_an_analyzer_of_a_collection_made_over_rest(rest: Rest, params: object) -> None:
    name = f"c_{uuid.uuid4().hex}"
    text = {"max_length": 100, "enable_analyzer": True, "analyzer_params": params}
    fields = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "v", "dataType": "FloatVector", "elementTypeParams": {"dim": 2}},
        {"fieldName": "t", "dataType": "VarChar", "elementTypeParams": text},
    ]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": fields}})
    found = rest.ok("common/run_analyzer", {"text": ["Dogs"], "collectionName": name, "fieldName": "t"})
    assert found == {"results": [{"tokens": [{"token": "dog"}]}]}
    (shown,) = [f for f in rest.ok("collections/describe", {"collectionName": name})["fields"] if f["name"] == "t"]
    assert json.loads({p["key"]: p["value"] for p in shown["params"]}["analyzer_params"]) == ENGLISH
    rest.ok("collections/drop", {"collectionName": name})


# -- phrases ------------------------------------------------------------------------------------
def test_the_slop_of_a_phrase_over_the_wire(server: ProcessServer) -> None:
    texts = ("machine learning", "learning machine", "machine x learning", "x")
    request = ComputePhraseMatchSlop(query="Machine learning", texts=texts, params='{"type":"standard"}')
    method, data = encode_request(request)
    with grpc.insecure_channel(server.uri.removeprefix("http://")) as channel:
        reply = channel.unary_unary(PATHS[method])(data, timeout=20)
    result: Any = decode_reply(request, reply)
    assert (result.matches, result.slops) == ((True, True, True, False), (0, 2, 1, -1))
