"""Settings of searches and queries: what is read, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.errors import InvalidParameter, MilvusException, Unimplemented
from redkite.model.requests import Page
from redkite.wire.params import QueryParams, SearchParams, read_index_params, read_query_params, read_search_params


def test_a_search_reads_every_setting_it_serves() -> None:
    params = read_search_params({
        "anns_field": "v", "topk": "5", "offset": "2", "metric_type": "L2", "round_decimal": "3",
        "ignore_growing": "True", "params": '{"ef": 64, "radius": 1.5, "metric_type": "L2", "offset": 2}',
    })  # fmt: skip
    assert params == SearchParams("v", 5, 2, "L2", 3, True, {"ef": 64, "radius": 1.5})


def test_a_search_needs_only_topk() -> None:
    assert read_search_params({"topk": "10"}) == SearchParams("", 10, 0, "", -1, False, {})


def test_a_setting_given_only_inside_params_counts() -> None:
    params = read_search_params({"topk": "1", "params": '{"metric_type": "IP", "offset": 3, "ignore_growing": true}'})
    assert (params.metric, params.offset, params.ignore_growing, params.index_params) == ("IP", 3, True, {})


def test_the_outer_setting_wins_over_the_one_inside_params() -> None:
    assert read_search_params({"topk": "1", "metric_type": "L2", "params": '{"metric_type": "IP"}'}).metric == "L2"


def test_a_range_may_be_given_outside_params() -> None:
    assert read_search_params({"topk": "1", "radius": "0.5"}).index_params == {"radius": 0.5}


@pytest.mark.parametrize("value", ["", "False", "false"])
def test_a_feature_that_is_turned_off_is_no_error(value: str) -> None:
    params = {"topk": "1", "iterator": value, "strict_group_size": value, "group_size": "1", "page_retain_order": value}
    assert read_search_params(params).topk == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("for_tuning", "true"), ("query_iter_last_pk", "7")],
)
def test_a_feature_that_is_not_served_is_refused_by_name(key: str, value: str) -> None:
    with pytest.raises(Unimplemented, match=f"parameter {key} is not supported in this version"):
        read_search_params({"topk": "1", key: value})
    with pytest.raises(Unimplemented, match=f"parameter {key} is not supported in this version"):
        read_search_params({"topk": "1", "params": f'{{"{key}": "{value}"}}'})


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ({}, "topk not found in search_params"),
        ({"topk": "abc"}, "topk [abc] is invalid"),
        ({"topk": "1_0"}, "topk [1_0] is invalid"),
        ({"topk": "9" * 5000}, "topk [999"),
        ({"topk": "1", "offset": "1.5"}, "offset [1.5] is invalid"),
        ({"topk": "1", "round_decimal": ""}, "round_decimal [] is invalid"),
        ({"topk": "1", "ignore_growing": "maybe"}, "ignore_growing [maybe] is invalid"),
        ({"topk": "1", "radius": "far"}, "radius [far] is invalid"),
        ({"topk": "1", "params": "{"}, "is not valid JSON"),
        ({"topk": "1", "params": "[1]"}, "is not a JSON object"),
        ({"topk": "1", "params": "[" * 100_000}, "is not valid JSON"),
        ({"topk": "1", "speed": "high"}, "search parameter speed is not known"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(pairs: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read_search_params(pairs)
    assert text in caught.value.message


def test_how_times_are_shown_is_read_beside_and_inside_params() -> None:
    given = {"timezone": "Asia/Shanghai", "time_fields": "year, month"}
    for pairs in (given, {"params": '{"timezone": "Asia/Shanghai", "time_fields": "year, month"}'}):
        params = read_search_params({"topk": "1", **pairs})
        assert (params.timezone, params.time_fields) == ("Asia/Shanghai", ("year", "month"))
    assert read_query_params(given) == QueryParams(None, 0, False, 0, "Asia/Shanghai", ("year", "month"))
    with pytest.raises(InvalidParameter, match="time_fields: week is not one of year, month"):
        read_query_params({"time_fields": "week"})


def test_a_query_reads_its_settings() -> None:
    assert read_query_params({}) == QueryParams(None, 0, False)
    pairs = {
        "limit": "3",
        "offset": "1",
        "ignore_growing": "true",
        "reduce_stop_for_best": "False",
        "iterator": "False",
    }
    assert read_query_params(pairs) == QueryParams(3, 1, True)


@pytest.mark.parametrize(
    ("pairs", "error", "text"),
    [
        ({"for_tuning": "true"}, Unimplemented, "parameter for_tuning is not supported"),
        ({"limit": "abc"}, InvalidParameter, r"limit \[abc\] is invalid"),
        ({"topk": "1"}, InvalidParameter, "query parameter topk is not known"),
        ({"reduce_stop_for_best": "x"}, InvalidParameter, r"reduce_stop_for_best \[x\] is invalid"),
    ],
)
def test_a_query_setting_that_is_not_served_is_refused(
    pairs: dict[str, str], error: type[MilvusException], text: str
) -> None:
    with pytest.raises(error, match=text):
        read_query_params(pairs)


def test_nested_index_params_are_taken_apart() -> None:
    pairs = {"index_type": "HNSW", "params": '{"M": 16, "metric_type": "L2", "refine": true, "index_type": "FLAT"}'}
    assert read_index_params(pairs) == {"index_type": "HNSW", "M": "16", "metric_type": "L2", "refine": "true"}


@given(st.dictionaries(st.sampled_from(["topk", "offset", "params", "iterator", "x"]), st.text(max_size=30)))
def test_any_settings_are_read_or_refused_with_a_typed_error(pairs: dict[str, Any]) -> None:
    for read in (read_search_params, read_query_params, read_index_params):
        try:
            read(pairs)
        except MilvusException as error:
            assert error.code in (10, 1100)


def test_a_page_of_an_iterator_is_read_with_its_size_its_token_and_its_bound() -> None:
    pairs = {"topk": "1", "iterator": "True", "search_iter_v2": "True", "search_iter_batch_size": "10"}
    first = read_search_params(pairs | {"collection_id": "7"})
    assert (first.page, first.topk, first.collection_id) == (Page(), 10, 7)
    later = read_search_params(pairs | {"search_iter_id": "t", "search_iter_last_bound": "0.25"})
    assert later.page == Page(token="t", last_bound=0.25)
    assert read_search_params({"topk": "1", "iterator": "True"}).page is None
    with pytest.raises(InvalidParameter, match="both iterator and search_iter_v2 must be set"):
        read_search_params({"topk": "1", "search_iter_v2": "True"})
    with pytest.raises(InvalidParameter, match="batch size is required"):
        read_search_params({"topk": "1", "iterator": "True", "search_iter_v2": "True"})
    assert read_query_params({"iterator": "True"}).is_page


def test_index_params_may_be_repeated_outside_params_where_the_inner_ones_count() -> None:
    params = read_search_params({"topk": "1", "ef": "32", "params": '{"ef": 64}'})
    assert params.index_params == {"ef": 64}
    with pytest.raises(InvalidParameter, match="search parameter ef is not known"):
        read_search_params({"topk": "1", "ef": "32"})


def test_an_iterator_may_name_the_time_of_its_first_page_among_its_settings() -> None:
    page = {"topk": "5", "iterator": "true", "search_iter_v2": "true", "search_iter_batch_size": "5"}
    assert read_search_params({**page, "guarantee_timestamp": "0"}).as_of == 0
    assert read_search_params({**page, "guarantee_timestamp": "461"}).as_of == 461
    assert read_search_params({"topk": "5", "guarantee_timestamp": "461"}).as_of == 0


@pytest.mark.parametrize("value", ["false", "False"])
def test_tuning_is_accepted_when_it_is_off(value: str) -> None:
    assert read_search_params({"topk": "1", "params": f'{{"for_tuning": "{value}"}}'}).index_params == {}
    with pytest.raises(Unimplemented, match="for_tuning"):
        read_search_params({"topk": "1", "params": '{"for_tuning": true}'})
