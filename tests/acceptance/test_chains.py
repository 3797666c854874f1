"""Chains of steps over hits, the same calls by every way to the engine."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, WAYS, Sdk

from redkite.query.trees import forest_of

all_ways = pytest.mark.parametrize("sdk", WAYS, indirect=True, scope="session")
our_ways = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
MODELS = Path(__file__).parent.parent / "query" / "xgboost_models.json"
ROWS = 90
RNG = np.random.default_rng(12)
FRONT = RNG.standard_normal((ROWS, 5)).astype(np.float32)
BACK = RNG.standard_normal((ROWS, 4)).astype(np.float32)
QUERY, OTHER = FRONT[7] + 0.2, BACK[31] + 0.2
CLOSE = FRONT @ QUERY
FAR = ((BACK - OTHER) ** 2).sum(axis=1)


@pytest.fixture
def birds(sdk: Sdk, client: Any, name: str) -> str:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("front", types.FLOAT_VECTOR, dim=5)
    schema.add_field("back", types.FLOAT_VECTOR, dim=4)
    schema.add_field("age", types.INT64, nullable=True)
    schema.add_field("wild", types.BOOL)
    schema.add_field("kind", types.VARCHAR, max_length=10)
    indexes = sdk.module.MilvusClient.prepare_index_params()
    indexes.add_index("front", index_type="FLAT", metric_type="IP")
    indexes.add_index("back", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=indexes)
    client.insert(
        name,
        [
            {
                "id": i, "front": FRONT[i].tolist(), "back": BACK[i].tolist(), "age": age_of(i),
                "wild": i % 3 == 0, "kind": f"k{i % 4}", "colour": f"c{i % 5}",
            }
            for i in range(ROWS)
        ],
    )  # fmt: skip
    return name


def age_of(key: int) -> int | None:
    return None if key % 10 == 0 else key


def by_closeness() -> list[int]:
    return [int(i) for i in np.argsort(-CLOSE, kind="stable")]


def builders(sdk: Sdk) -> Any:
    if sdk.ours:
        from redkite.client import chains

        return chains
    from pymilvus.function_chain import chain, fn

    chain.fn = fn
    return chain


def chain_of(sdk: Sdk, *ops: tuple[str, dict[str, Any]], stage: str = "L2_RERANK") -> Any:
    """A chain of steps as they travel, whether the builder has a method for them or not."""
    m = builders(sdk)
    chain = m.FunctionChain(m.FunctionChainStage[stage])
    chain._ops += [m.FunctionChainOp(op, **given) for op, given in ops]
    return chain


def found_keys(client: Any, name: str, chains: Any, limit: int = 20, **more: Any) -> list[int]:
    found = client.search(name, [QUERY.tolist()], anns_field="front", limit=limit, function_chains=chains, **more)
    return [hit["id"] for hit in found[0]]


# -- filter -------------------------------------------------------------------------------------
@all_ways
def test_hits_are_kept_by_a_column_of_truths(sdk: Sdk, client: Any, birds: str) -> None:
    assert found_keys(client, birds, chain_of(sdk, ("filter", {"inputs": ("wild",)}))) == [
        key for key in by_closeness()[:20] if key % 3 == 0
    ]


@all_ways
def test_hits_are_kept_by_a_condition_over_fields_scores_and_made_columns(sdk: Sdk, client: Any, birds: str) -> None:
    m = builders(sdk)
    decay = m.fn.decay(m.col("age"), function="linear", origin=0, scale=90, decay=0.1)
    steps = [
        ("map", {"expr": decay, "outputs": ("young",)}),
        ("filter", {"params": {"filter": "young > 0.3 and $score > 0.5 and colour != 'c1' and $id != {not}"}}),
    ]
    closest = by_closeness()[:40]
    unwanted = next(key for key in closest if key % 5 == 2)
    wanted = [
        key
        for key in closest
        if (age_of(key) is not None and max(0.1, 1 - 0.9 * key / 90) > 0.3)
        and CLOSE[key] > 0.5 and key % 5 != 1 and key != unwanted
    ]  # fmt: skip
    assert wanted
    assert found_keys(client, birds, chain_of(sdk, *steps), limit=40, filter_params={"not": unwanted}) == wanted


@all_ways
def test_hits_are_kept_by_an_expression(sdk: Sdk, client: Any, birds: str) -> None:
    m = builders(sdk)
    rounded = m.fn.round_decimal(m.col("$score"), decimal=0)
    kept = found_keys(client, birds, chain_of(sdk, ("filter", {"expr": rounded})), limit=ROWS)
    assert kept == [key for key in by_closeness() if np.round(CLOSE[key]) != 0]


# -- groups and columns -------------------------------------------------------------------------
@all_ways
@pytest.mark.parametrize("scorer", ["max", "sum", "avg"])
def test_the_best_groups_of_a_field(sdk: Sdk, client: Any, birds: str, scorer: str) -> None:
    params = {"field": "kind", "group_size": 2, "limit": 3, "scorer": scorer}
    hits = by_closeness()[:15]
    groups = []
    for kind in dict.fromkeys(key % 4 for key in hits):
        best = [key for key in hits if key % 4 == kind][:2]
        scores = [float(CLOSE[key]) for key in best]
        groups.append(({"max": max, "sum": sum, "avg": np.mean}[scorer](scores), best))
    wanted = [key for _, best in sorted(groups, key=lambda group: -group[0])[:3] for key in best]
    assert found_keys(client, birds, chain_of(sdk, ("group_by", {"params": params})), limit=15) == wanted


@all_ways
def test_columns_that_were_not_selected_are_gone(sdk: Sdk, client: Any, birds: str) -> None:
    select = ("select", {"params": {"columns": ["kind"]}})
    sort = ("sort", {"params": {"column": "age", "desc": True}})
    oldest = sorted(by_closeness()[:20], key=lambda key: -(age_of(key) or -1))
    assert found_keys(client, birds, chain_of(sdk, sort, select)) == oldest
    with pytest.raises(sdk.module.MilvusException, match="column age is not among those"):
        found_keys(client, birds, chain_of(sdk, select, sort))
    with pytest.raises(sdk.module.MilvusException, match="cannot parse expression"):
        found_keys(client, birds, chain_of(sdk, select, ("filter", {"params": {"filter": "wild"}})))


@all_ways
def test_a_limit_behind_a_new_score_keeps_the_best_of_it(sdk: Sdk, client: Any, birds: str) -> None:
    m = builders(sdk)
    older = m.fn.num_combine(m.col("$score"), m.col("age"), mode="sum")
    chain = m.FunctionChain(m.FunctionChainStage.L2_RERANK).map("$score", older).limit(3)
    wanted = sorted(by_closeness()[:20], key=lambda key: -(CLOSE[key] + (age_of(key) or 0)))[:3]
    assert found_keys(client, birds, chain) == wanted


# -- stages -------------------------------------------------------------------------------------
@all_ways
@pytest.mark.parametrize("stage", ["L0_RERANK", "L1_RERANK"])
def test_an_early_chain_filters_before_the_best_are_taken(sdk: Sdk, client: Any, birds: str, stage: str) -> None:
    m = builders(sdk)
    early = chain_of(
        sdk,
        ("map", {"expr": m.fn.round_decimal(m.col("age"), decimal=0), "outputs": ("years",)}),
        ("filter", {"inputs": ("wild",)}),
        stage=stage,
    )
    late = chain_of(sdk, ("sort", {"params": {"column": "years", "desc": True, "tie_break_col": "$id"}}))
    wanted = [key for key in by_closeness() if key % 3 == 0][:6]
    wanted.sort(key=lambda key: (-(age_of(key) or -1), key))
    assert found_keys(client, birds, [late, early], limit=6) == wanted


@all_ways
def test_a_post_chain_sees_what_is_answered(sdk: Sdk, client: Any, birds: str) -> None:
    late = chain_of(sdk, ("sort", {"params": {"column": "age", "desc": True}}))
    post = chain_of(sdk, ("filter", {"inputs": ("wild",)}), ("limit", {"params": {"limit": 2}}), stage="POST_PROCESS")
    answered = sorted(by_closeness()[:13], key=lambda key: -(age_of(key) or -1))[3:13]
    found = found_keys(client, birds, [post, late], limit=10, offset=3)
    assert found == [key for key in answered if key % 3 == 0][:2]


@all_ways
def test_steps_that_cannot_be_are_refused(sdk: Sdk, client: Any, birds: str) -> None:
    m = builders(sdk)
    expr = m.fn.round_decimal(m.col("$score"), decimal=0)
    cases = [
        ([("limit", {"params": {"limit": 1}}), ("merge", {})], "merge must be the first step"),
        ([("filter", {})], "needs a condition, an expression or a column"),
        ([("filter", {"inputs": ("kind",)})], "which holds texts"),
        ([("filter", {"expr": expr, "inputs": ("wild",)})], "and only one"),
        ([("filter", {"params": {"filter": "nothing ==="}})], "cannot parse expression"),
        ([("filter", {"params": {"filter": "random_sample(0.5)"}})], "random_sample cannot stand"),
        ([("group_by", {"params": {"field": "$score"}})], "group_by needs a field"),
        ([("group_by", {"params": {"field": "kind", "group_size": 11}})], "group_size 11 exceeds"),
        ([("group_by", {"params": {"field": "kind", "size": 2}})], "unknown parameter size"),
        ([("select", {})], "select needs a list of columns"),
        ([("sort", {"params": {"column": "age"}, "outputs": ("x",)})], "step sort has no outputs"),
        ([("limit", {"params": {"limit": 1}, "expr": expr})], "step limit takes no expression"),
        ([("shuffle", {})], "step shuffle is not known"),
    ]
    for steps, text in cases:
        with pytest.raises(sdk.module.MilvusException) as caught:
            found_keys(client, birds, chain_of(sdk, *steps))
        assert (caught.value.code, text in caught.value.message) == (1100, True), caught.value
    model = {"expr": m.FunctionChainExpr("xgboost", (m.col("age"),), {"model_resource": "m"}), "outputs": ("x",)}
    with pytest.raises(sdk.module.MilvusException, match="file resource m not found"):
        found_keys(client, birds, chain_of(sdk, ("map", model)))


# -- trees --------------------------------------------------------------------------------------
@all_ways
@pytest.mark.parametrize("output", ["default", "raw"])
def test_boosted_trees_score_hits(
    sdk: Sdk, client: Any, birds: str, tmp_path: Path, output: str, request: pytest.FixtureRequest
) -> None:
    m = builders(sdk)
    data = base64.b64decode(json.loads(MODELS.read_text())["cases"]["logistic"]["ubj"])
    folder = tmp_path if sdk.embedded else Path(f"{request.getfixturevalue('server').data}-files")
    folder.mkdir(exist_ok=True)
    resource = f"trees_{tmp_path.name}_{sdk.way}"
    (folder / resource).write_bytes(data)
    client.add_file_resource(resource, str(folder / resource))
    features = (m.col("$score"), m.col("age"), m.col("$id"))
    trees = m.fn.xgboost(*features, model_resource=resource, output=output)
    hits = by_closeness()[:20]
    numbers = np.array([[CLOSE[key], np.nan if age_of(key) is None else key, key] for key in hits], np.float32)
    wanted = forest_of(data).predict(numbers, raw=output == "raw")
    chain = m.FunctionChain(m.FunctionChainStage.L2_RERANK).map("$score", trees)
    found = client.search(birds, [QUERY.tolist()], anns_field="front", limit=20, function_chains=chain)[0]
    told = {hit["id"]: pytest.approx(hit["distance"], abs=1e-6) for hit in found}
    assert told == dict(zip(hits, wanted, strict=True))
    assert [hit["distance"] for hit in found] == sorted((hit["distance"] for hit in found), reverse=True)
    one = m.fn.xgboost(m.col("age"), model_resource=resource)
    few = m.FunctionChain(m.FunctionChainStage.L2_RERANK).map("$score", one)
    with pytest.raises(sdk.module.MilvusException, match="takes 3 features, got 1 columns"):
        found_keys(client, birds, few)
    client.remove_file_resource(resource)


@all_ways
def test_scores_and_keys_are_names_of_chains_alone(sdk: Sdk, client: Any, birds: str) -> None:
    for name in ("$score", "$id"):
        with pytest.raises(sdk.module.MilvusException) as caught:
            client.query(birds, filter=f"{name} > 1")
        assert caught.value.code == 1100


# -- hybrid searches ----------------------------------------------------------------------------
def requests(sdk: Sdk, limit: int = 12) -> list[Any]:
    ask = sdk.module.AnnSearchRequest
    return [ask([QUERY.tolist()], "front", {}, limit), ask([OTHER.tolist()], "back", {}, limit)]


def lists(most: int = 12, *, wild: bool = False) -> list[list[int]]:
    order = [by_closeness(), [int(i) for i in np.argsort(FAR, kind="stable")]]
    return [[key for key in keys if key % 3 == 0 or not wild][:most] for keys in order]


def best(scores: dict[int, float]) -> list[int]:
    return sorted(scores, key=lambda key: (-np.float32(scores[key]), key))


@our_ways
def test_a_merge_step_makes_one_list(sdk: Sdk, client: Any, birds: str) -> None:
    chains = builders(sdk)
    stage = chains.FunctionChainStage.L2_RERANK
    scores: dict[int, float] = {}
    for keys in lists():
        for rank, key in enumerate(keys, 1):
            scores[key] = scores.get(key, 0) + 1 / (10 + rank)
    chain = chains.FunctionChain(stage).merge("rrf", k=10).filter("wild")
    found = client.hybrid_search(birds, requests(sdk), limit=5, function_chains=chain, output_fields=["kind"])
    wanted = [key for key in best(scores) if key % 3 == 0][:5]
    assert [hit["id"] for hit in found[0]] == wanted
    assert [hit["distance"] for hit in found[0]] == pytest.approx([scores[key] for key in wanted])
    assert [hit["entity"]["kind"] for hit in found[0]] == [f"k{key % 4}" for key in wanted]


@our_ways
@pytest.mark.parametrize("mode", ["max", "sum", "avg"])
def test_a_merge_of_scores(sdk: Sdk, client: Any, birds: str, mode: str) -> None:
    chains = builders(sdk)
    chain = chains.FunctionChain(chains.FunctionChainStage.L2_RERANK).merge(mode, norm_score=True)
    first, second = lists()
    given: dict[int, list[float]] = {key: [0.5 + np.arctan(CLOSE[key]) / np.pi] for key in first}
    for key in second:
        given.setdefault(key, []).append(1 - 2 * np.arctan(FAR[key]) / np.pi)
    value = {"max": max, "sum": sum, "avg": np.mean}[mode]
    scores = {key: float(value(some)) for key, some in given.items()}
    found = client.hybrid_search(birds, requests(sdk), limit=8, function_chains=chain)
    assert [hit["distance"] for hit in found[0]] == pytest.approx([scores[key] for key in best(scores)[:8]], rel=1e-5)


@our_ways
def test_early_chains_run_in_each_search_and_late_ones_after_the_ranker(sdk: Sdk, client: Any, birds: str) -> None:
    chains = builders(sdk)
    stages = chains.FunctionChainStage
    early = chains.FunctionChain(stages.L0_RERANK).filter(by="wild")
    late = chains.FunctionChain(stages.L2_RERANK).sort("age", desc=False, tie_break_col="$id")
    scores: dict[int, float] = {}
    for keys in lists(30, wild=True):
        for rank, key in enumerate(keys, 1):
            scores[key] = scores.get(key, 0) + 1 / (60 + rank)
    found = client.hybrid_search(
        birds, requests(sdk), sdk.module.RRFRanker(), limit=30, function_chains=[late, early], output_fields=["age"]
    )
    assert [hit["id"] for hit in found[0]] == sorted(scores, key=lambda key: (age_of(key) is None, key))


@our_ways
def test_a_merge_beside_a_ranker_is_refused(sdk: Sdk, client: Any, birds: str) -> None:
    chains = builders(sdk)
    stages = chains.FunctionChainStage
    merge = chains.FunctionChain(stages.L2_RERANK).merge()
    with pytest.raises(sdk.module.MilvusException, match="a rank strategy or a merge step, not both"):
        client.hybrid_search(birds, requests(sdk), sdk.module.RRFRanker(), limit=5, function_chains=merge)
    early = chains.FunctionChain(stages.L1_RERANK).merge()
    with pytest.raises(sdk.module.MilvusException, match="merge must be the first step of the first L2_RERANK chain"):
        client.hybrid_search(birds, requests(sdk), limit=5, function_chains=early)
    wrong = chains.FunctionChain(stages.L2_RERANK).merge("weighted", weights=[1.0])
    with pytest.raises(sdk.module.MilvusException, match="the length of weights param mismatch"):
        client.hybrid_search(birds, requests(sdk), limit=5, function_chains=wrong)
    with pytest.raises(sdk.module.MilvusException, match="cannot be used together"):
        client.hybrid_search(birds, requests(sdk), limit=5, function_chains=merge, group_by_field="kind")
