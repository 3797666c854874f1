"""The blocking client does the same thing over both transports."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from tests.client.fake import FakeService

from redkite import DataType, MilvusClient, errors
from redkite.client.operations.indexes import AmbiguousIndexName
from redkite.model import requests
from redkite.model.types import ConsistencyLevel, LoadState


def vector(dim: int = 4) -> list[float]:
    return [random.uniform(-1, 1) for _ in range(dim)]


@pytest.fixture
def docs(client: MilvusClient) -> MilvusClient:
    """A quickly made collection of three texts."""
    client.create_collection("docs", dimension=4)
    rows = [{"id": i, "vector": [float(i)] * 4, "text": f"text {i}", "subject": "history"} for i in range(3)]
    client.insert("docs", rows)
    return client


def test_a_collection_made_from_a_dimension_is_indexed_loaded_and_dynamic(client: MilvusClient) -> None:
    client.create_collection("quick", dimension=8, metric_type="L2")
    shown = client.describe_collection("quick")
    assert [field["name"] for field in shown["fields"]] == ["id", "vector"]
    assert shown["fields"][1]["params"] == {"dim": 8}
    assert shown["enable_dynamic_field"] is True
    assert client.get_load_state("quick") == {"state": LoadState.Loaded}
    index = client.describe_index("quick", "vector")
    assert index is not None
    assert (index["index_type"], index["metric_type"], index["state"]) == ("AUTOINDEX", "L2", "Finished")


def test_a_collection_made_from_a_schema_is_loaded_only_with_index_params(client: MilvusClient) -> None:
    schema = MilvusClient.create_schema(auto_id=False, description="an example")
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=128)
    client.create_collection("bare", schema=schema)
    assert client.get_load_state("bare") == {"state": LoadState.NotLoad}
    params = client.prepare_index_params()
    params.add_index(field_name="embedding", index_type="AUTOINDEX", metric_type="L2")
    client.create_collection(collection_name="indexed", schema=schema, index_params=params)
    assert client.get_load_state("indexed") == {"state": LoadState.Loaded}
    assert client.list_indexes("indexed") == ["embedding"]
    assert client.list_indexes("bare") == []
    assert sorted(client.list_collections()) == ["bare", "indexed"]


def test_string_keys_get_the_length_that_was_asked_for(client: MilvusClient) -> None:
    client.create_collection("texts", dimension=4, id_type="string", max_length=64)
    key = client.describe_collection("texts")["fields"][0]
    assert (key["type"], key["params"]) == (DataType.VARCHAR, {"max_length": 64})


def test_arguments_that_a_schema_decides_are_refused_beside_it(client: MilvusClient) -> None:
    schema = client.create_schema().add_field("id", DataType.INT64, is_primary=True)
    with pytest.raises(errors.ParamError, match="either a schema or `dimension`"):
        client.create_collection("both", dimension=8, schema=schema)


def test_rows_written_are_found_again(docs: MilvusClient) -> None:
    hits = docs.search("docs", data=[[0.1] * 4], limit=2, output_fields=["text", "subject"])[0]
    assert hits.ids == [0, 1]
    assert hits[0]["entity"] == {"text": "text 0", "subject": "history"}
    found = docs.query("docs", filter="subject == 'history'", output_fields=["text"])
    assert [row["text"] for row in found] == ["text 0", "text 1", "text 2"]
    assert found[0] == {"id": 0, "text": "text 0"}
    assert docs.query("docs", output_fields=["count(*)"]) == [{"count(*)": 3}]
    assert docs.get("docs", ids=[2])[0]["vector"] == [2.0] * 4
    assert docs.get("docs", []) == []
    assert docs.get_collection_stats("docs") == {"row_count": 3}


def test_rows_are_deleted_by_id_and_by_filter(docs: MilvusClient) -> None:
    assert docs.delete("docs", ids=[0, 2]) == {"delete_count": 2}
    assert docs.delete("docs", filter="subject == 'history'") == {"delete_count": 1}
    assert docs.delete("docs", ids=[]) == {"delete_count": 0}
    assert docs.query("docs", limit=10) == []


def test_upsert_replaces_rows_of_the_same_key(docs: MilvusClient) -> None:
    result = docs.upsert("docs", {"id": 1, "vector": [9.0] * 4, "text": "new"})
    assert result == {"upsert_count": 1, "ids": [1]}
    assert docs.get("docs", 1)[0]["text"] == "new"
    assert docs.get_collection_stats("docs") == {"row_count": 3}


def test_a_partial_upsert_keeps_what_it_does_not_name(docs: MilvusClient) -> None:
    docs.upsert("docs", {"id": 1, "text": "new"}, partial_update=True)
    assert docs.get("docs", 1)[0]["vector"] == [1.0] * 4


def test_keys_made_by_the_server_come_back(client: MilvusClient) -> None:
    client.create_collection("auto", dimension=4, auto_id=True)
    result = client.insert("auto", [{"vector": vector()} for _ in range(3)])
    assert result["insert_count"] == 3
    assert len(set(result["ids"])) == 3


def test_writing_nothing_calls_nobody(client: MilvusClient, fake: FakeService) -> None:
    assert client.insert("missing", []) == {"insert_count": 0, "ids": []}
    assert client.upsert("missing", []) == {"upsert_count": 0, "ids": []}
    assert not fake.sent(requests.DescribeCollection)


def test_partitions_come_and_go(docs: MilvusClient) -> None:
    docs.create_partition("docs", "old")
    assert docs.has_partition("docs", "old")
    assert docs.list_partitions("docs") == ["_default", "old"]
    docs.load_partitions("docs", "old")
    docs.release_partitions("docs", ["old"])
    assert docs.get_partition_stats("docs", "old") == {"row_count": 3}
    docs.drop_partition("docs", "old")
    assert not docs.has_partition("docs", "old")


def test_aliases_stand_for_collections(docs: MilvusClient) -> None:
    docs.create_alias("docs", "papers")
    assert docs.has_collection("papers")
    assert docs.describe_alias("papers") == {"alias": "papers", "collection_name": "docs", "db_name": "default"}
    assert docs.list_aliases("docs")["aliases"] == ["papers"]
    assert docs.query("papers", limit=1)[0]["id"] == 0
    docs.create_collection("more", dimension=4)
    docs.alter_alias("more", "papers")
    assert docs.describe_alias("papers")["collection_name"] == "more"
    docs.drop_alias("papers")
    with pytest.raises(errors.AliasNotFound):
        docs.describe_alias("papers")


def test_a_collection_is_renamed_truncated_and_dropped(docs: MilvusClient) -> None:
    docs.rename_collection("docs", "papers")
    assert docs.list_collections() == ["papers"]
    docs.truncate_collection("papers")
    assert docs.get_collection_stats("papers") == {"row_count": 0}
    docs.drop_collection("papers")
    assert not docs.has_collection("papers")


def test_databases_are_used_only_if_they_exist(client: MilvusClient, fake: FakeService) -> None:
    client.create_database("lab")
    assert client.list_databases() == ["default", "lab"]
    client.use_database("lab")
    client.list_collections()
    assert fake.sent(requests.ShowCollections)[-1].database == "lab"
    with pytest.raises(errors.DatabaseNotFound):
        client.use_database("nowhere")
    assert client.db_name == "lab"
    client.use_database("default")
    client.drop_database("lab")
    assert client.describe_database("default") == {"name": "default"}


def test_waiting_polls_until_the_work_is_done(docs: MilvusClient, fake: FakeService) -> None:
    fake.polls = 3
    docs.load_collection("docs")
    assert len(fake.sent(requests.GetLoadingProgress)) >= 4
    fake.polls = 2
    docs.flush("docs")
    assert len(fake.sent(requests.GetFlushState)) == 3
    assert fake.sent(requests.GetFlushState)[0].segment_ids == (7,)
    docs.flush_all()
    assert docs.get_flush_all_state()
    fake.polls = 2
    docs.create_index("docs", docs.prepare_index_params("vector", index_type="FLAT", metric_type="L2"), sync=True)
    docs.release_collection("docs")
    docs.drop_index("docs", "vector")
    assert docs.describe_index("docs", "vector") is None


def test_a_wait_ends_at_its_timeout(docs: MilvusClient, fake: FakeService) -> None:
    fake.polls = 10**9
    start = time.monotonic()
    with pytest.raises(errors.Timeout):
        docs.load_collection("docs", timeout=0.2)
    assert time.monotonic() - start < 30


def test_several_indexes_want_a_name(docs: MilvusClient) -> None:
    params = docs.prepare_index_params()
    params.add_index("vector", "FLAT", index_name="second", metric_type="L2", params={"M": 16})
    docs.create_index("docs", params)
    assert docs.list_indexes("docs", "vector") == ["vector", "second"]
    with pytest.raises(AmbiguousIndexName):
        docs.describe_index("docs", "")
    index = docs.describe_index("docs", "second")
    assert index is not None
    assert index["M"] == "16"


def test_search_settings_reach_the_service(docs: MilvusClient, fake: FakeService) -> None:
    docs.search(
        "docs", np.zeros((2, 4)), filter="id in [1]", limit=5, offset=1, round_decimal=3,
        search_params={"metric_type": "L2", "params": {"ef": 64}}, consistency_level="Strong",
        anns_field="vector", filter_params={"a": np.int64(3)}, partition_names=["_default"], ignore_growing=True,
    )  # fmt: skip
    sent = fake.sent(requests.Search)[-1]
    assert sent.queries.nq == 2
    assert (sent.filter, sent.limit, sent.offset, sent.metric, sent.round_decimal) == ("id in [1]", 5, 1, "L2", 3)
    assert sent.params == {"ef": 64}
    assert sent.consistency_level is ConsistencyLevel.Strong
    assert sent.filter_params == {"a": 3}
    assert sent.partitions == ("_default",)
    assert sent.ignore_growing is True


def test_session_level_reads_carry_the_last_write(docs: MilvusClient, fake: FakeService) -> None:
    docs.insert("docs", {"id": 9, "vector": [0.0] * 4})
    docs.query("docs", limit=1, consistency_level="Session")
    assert fake.sent(requests.Query)[-1].guarantee_timestamp > 0
    docs.query("docs", limit=1)
    assert fake.sent(requests.Query)[-1].guarantee_timestamp == 0


def test_schemas_are_asked_for_once(docs: MilvusClient, fake: FakeService) -> None:
    for i in range(5):
        docs.insert("docs", {"id": 10 + i, "vector": [0.0] * 4})
    docs.get("docs", 10)
    docs.delete("docs", ids=10)
    assert len(fake.sent(requests.DescribeCollection)) == 1
    assert fake.sent(requests.Insert)[-1].schema_timestamp == fake.collections["docs"].updated


def test_a_stale_schema_is_fetched_again_once(docs: MilvusClient, fake: FakeService) -> None:
    fake.collections["docs"].updated += 10**6
    assert docs.insert("docs", {"id": 10, "vector": [0.0] * 4})["insert_count"] == 1
    assert len(fake.sent(requests.DescribeCollection)) == 2
    fake.collections["docs"].updated += 10**6
    describe = fake._DescribeCollection
    old = describe(requests.DescribeCollection(collection="docs"))
    fake.collections["docs"].updated += 10**6
    fake._DescribeCollection = lambda request: old  # type: ignore[method-assign]
    with pytest.raises(errors.SchemaMismatch):
        docs.insert("docs", {"id": 11, "vector": [0.0] * 4})


def test_a_collection_made_anew_by_others_is_still_read_by_key(docs: MilvusClient, fake: FakeService) -> None:
    other = docs.create_schema().add_field("key", DataType.VARCHAR, is_primary=True, max_length=9)
    other.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    made = requests.CreateCollection(schema=other.to_model("docs"))
    for work in (lambda: docs.get("docs", "a"), lambda: docs.delete("docs", ids="a")):
        docs.create_collection("docs", dimension=4)
        docs.insert("docs", {"id": 1, "vector": [0.0] * 4})
        fake.call(made)
        fake.collections["docs"].loaded = True
        work()


def test_rows_that_do_not_fit_the_cached_schema_get_the_current_one(client: MilvusClient, fake: FakeService) -> None:
    schema = client.create_schema().add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    client.create_collection("grows", schema=schema)
    client.insert("grows", {"id": 1, "vector": [0.0] * 4})
    schema.add_field("added", DataType.INT64, nullable=True)
    fake.call(requests.CreateCollection(schema=schema.to_model("grows")))
    assert client.insert("grows", {"id": 2, "vector": [0.0] * 4, "added": 5})["insert_count"] == 1
    with pytest.raises(errors.DataNotMatchException, match="unexpected field `other`"):
        client.insert("grows", {"id": 2, "vector": [0.0] * 4, "other": 5})


def test_versions_come_plain_or_in_detail(client: MilvusClient) -> None:
    assert client.get_server_version() == "v2.6.0"
    assert client.get_server_version(detail=True)["deploy_mode"] == "STANDALONE"
    assert client.get_server_type() == "milvus"


def test_errors_of_the_service_arrive_as_their_classes(client: MilvusClient) -> None:
    with pytest.raises(errors.CollectionNotFound) as caught:
        client.insert("missing", {"id": 1})
    assert caught.value.code == 100
    assert caught.value.message == "collection not found[database=default][collection=missing]"
    with pytest.raises(errors.DescribeCollectionException):
        client.describe_collection("missing")
    with pytest.raises(errors.CollectionNotFound):
        client.describe_collection("missing")
    client.create_collection("idle", dimension=4)
    client.release_collection("idle")
    with pytest.raises(errors.CollectionNotLoaded):
        client.search("idle", [[0.0] * 4])


def test_a_closed_client_says_so(client: MilvusClient) -> None:
    client.close()
    client.close()
    with pytest.raises(errors.MilvusException, match="should create connection first"):
        client.list_collections()


@pytest.mark.parametrize("argument", ["namespace"])
def test_what_this_version_cannot_honour_is_refused_by_name(docs: MilvusClient, argument: str) -> None:
    with pytest.raises(errors.Unimplemented, match=f"`{argument}`"):
        docs.search("docs", [[0.0] * 4], **{argument: "x"})
    docs.search("docs", [[0.0] * 4], **{argument: None})


def test_a_misspelt_argument_is_refused_with_the_nearest(docs: MilvusClient) -> None:
    with pytest.raises(errors.ParamError, match="unexpected argument `outputfields`; did you mean `output_fields`"):
        docs.search("docs", [[0.0] * 4], outputfields=["text"])
    with pytest.raises(errors.ParamError, match="unexpected argument `groupby_field`; did you mean `group_by_field`"):
        docs.search("docs", [[0.0] * 4], groupby_field="text")
    with pytest.raises(errors.Unimplemented, match="`namespace`"):
        docs.search("docs", [[0.0] * 4], search_params={"namespace": "x"})


def test_a_method_that_does_not_exist_is_an_attribute_error(docs: MilvusClient) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        docs.nonsense()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda c: c.has_collection(""), "`collection_name` value  is illegal"),
        (lambda c: c.has_collection(7), r"wrong type of argument \[collection_name\], expected type: \[str\]"),
        (lambda c: c.search("c", [[0.0]], limit="3"), "`limit` value 3 is illegal"),
        (lambda c: c.search("c"), r"missing required argument: \[data\]"),
        (lambda c: c.search("c", [[0.0]], output_fields=[1]), "`output_fields` value"),
        (lambda c: c.search("c", [[0.0]], consistency_level="strongish"), "Invalid consistency level: strongish"),
        (lambda c: c.search("c", [[0.0]], offset=1, search_params={"offset": 2}), "Provide offset both"),
        (lambda c: c.search("c", [[0.0]], search_params={"ef": 1, "params": {"ef": 2}}), "ambiguous parameter: ef"),
        (lambda c: c.query("c", filter=3), "The type of expr must be string ,but <class 'int'> is given."),
        (lambda c: c.query("c", filter="a", ids=[1]), "Ambiguous parameter, either ids or filter"),
        (lambda c: c.delete("c", filter="a", ids=[1]), "Ambiguous filter parameter"),
        (lambda c: c.delete("c"), "missing required argument"),
        (lambda c: c.create_index("c", c.prepare_index_params()), "IndexParams is empty"),
        (lambda c: c.load_partitions("c", []), "`partition_names` value"),
        (lambda c: c.list_collections(timeout=-1), "`timeout` value -1 is illegal"),
        (lambda c: c.list_collections(timeout=float("nan")), "`timeout` value nan is illegal"),
        (lambda c: c.create_collection("c"), r"missing required argument: \[dimension\]"),
    ],
)
def test_bad_arguments_are_refused_before_any_call(
    client: MilvusClient, fake: FakeService, call: object, text: str
) -> None:
    before = len(fake.calls)
    with pytest.raises(errors.ParamError, match=text):
        call(client)  # type: ignore[operator]
    assert len(fake.calls) == before


def test_ids_of_the_wrong_type_are_a_type_error(docs: MilvusClient) -> None:
    with pytest.raises(TypeError, match="wrong type of argument ids"):
        docs.delete("docs", ids=[1.5])
    with pytest.raises(TypeError, match="wrong type of argument 'data'"):
        docs.insert("docs", "nonsense")
    with pytest.raises(errors.ParamError, match="ids"):
        docs.get("docs", ids=["text"])
