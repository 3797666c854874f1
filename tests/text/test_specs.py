"""Analyzers as users write them: what is built in, what is refused and how."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from tests.text.views import words

from redkite.errors import InvalidParameter
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType
from redkite.text import specs
from redkite.text.specs import analyzer_of, field_analyzer, field_analyzers, multi_analyzer_of


def message(params: Any) -> str:
    with pytest.raises(InvalidParameter) as caught:
        analyzer_of(params)
    assert caught.value.code == 1100
    return caught.value.message.removesuffix(": invalid parameter")


# -- built in -----------------------------------------------------------------------------------
@pytest.mark.parametrize("params", [None, "", "{}", {}, {"type": "standard"}, '{"type":"standard"}'])
def test_without_params_the_analyzer_is_standard(params: Any) -> None:
    assert words(params, "Hello, World-2 don't") == [["hello", "world", "2", "don", "t"]]


def test_english_stems_and_then_drops_stop_words() -> None:
    text = "Milvus is a vector database built for scale! The quick foxes were running."
    expected = ["milvus", "vector", "databas", "built", "scale", "quick", "fox", "were", "run"]
    assert words({"type": "english"}, text) == [expected]
    assert words({"type": "english", "stop_words": ["scale", "fox"]}, text) == [
        [word for word in expected if word not in ("scale", "fox")]
    ]


def test_chinese_arabic_and_thai() -> None:
    assert words({"type": "chinese"}, "系统安全;,'';lxyz密码") == [["系统", "安全", "系统安全", "lxyz", "密码"]]
    assert words({"type": "chinese", "stop_words": ["_chinese_"]}, "我们的数据") == [["数据"]]
    assert words({"type": "arabic"}, "كِتَابٌ عـــربي ١٢٣") == [["كتاب", "عرب", "123"]]
    thai = ["ฉัน", "รัก", "ค้นหา", "ข้อความ", "milvus", "123"]
    assert words({"type": "thai"}, "ฉันรักการค้นหาข้อความใน Milvus ๑๒๓") == [thai]


BUILT_IN = {
    "standard": {"tokenizer": "standard", "filter": ["lowercase"]},
    "english": {
        "tokenizer": "standard",
        "filter": [
            "lowercase", {"type": "stemmer", "language": "english"}, {"type": "stop", "stop_words": ["_english_"]},
        ],
    },
    "chinese": {"tokenizer": "jieba", "filter": ["cnalphanumonly"]},
    "arabic": {
        "tokenizer": "standard",
        "filter": [
            "lowercase", "decimaldigit", "arabic_normalization", {"type": "stemmer", "language": "arabic"},
            {"type": "stop", "stop_words": ["_arabic_"]},
        ],
    },
    "thai": {
        "tokenizer": "thai", "filter": ["lowercase", "decimaldigit", {"type": "stop", "stop_words": ["_thai_"]}],
    },
}  # fmt: skip
SAMPLE = "The Foxes are running in 2024, 我来到北京 كِتَابٌ من ١٢٣ ฉันรักการค้นหา ๑๒๓"


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_built_in_analyzer_is_the_custom_one_it_stands_for(name: str) -> None:
    assert words({"type": name}, SAMPLE) == words(BUILT_IN[name], SAMPLE)
    assert words({"type": name}, SAMPLE)[0]


# -- refused ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"tokenizer": "standard", "filter": "lowercase"}, "filter params should be array"),
        ({"tokenizer": "standard", "filter": {"type": "stop"}}, "filter params should be array"),
        ({"tokenizer": "standard", "filter": ["nope"]}, "build analyzer failed, filter not found :nope"),
        ({"tokenizer": "standard", "filter": ["stop"]}, "build analyzer failed, filter not found :stop"),
        ({"tokenizer": "standard", "filters": []}, "unknown analyzer option key: filters"),
        ({"type": "english", "filter": []}, "unknown analyzer option key: filter"),
        ({"type": "klingon"}, "unknown build-in analyzer type: klingon"),
        ({"type": 5}, "analyzer type shoud be string"),
        ({"filter": ["lowercase"]}, "tokenizer name or type must be set"),
        ({"tokenizer": None}, "tokenizer name or type must be set"),
        ({"tokenizer": {"mode": "exact"}}, "tokenizer name or type must be set"),
        ({"tokenizer": 5}, "tokenizer name should be string or dict"),
        ({"tokenizer": {"type": 5}}, "tokenizer type should be string"),
        ({"tokenizer": "nope"}, "unsupported tokenizer: nope"),
        ({"tokenizer": {"type": "standard", "x": 1}}, "unknown option x of standard tokenizer"),
        ({"type": "standard", "stop_words": "the"}, "filter stop_words should be array"),
        ({"type": "standard", "stop_words": [1]}, "filter stop_words item should be string"),
        ({"tokenizer": {"type": "jieba", "dict": "x"}}, "jieba tokenizer dict should be array"),
        ({"tokenizer": {"type": "jieba", "mode": "x"}}, 'jieba tokenizer mode must be "exact" or "search"'),
        ({"tokenizer": {"type": "jieba", "hmm": "yes"}}, "jieba tokenizer hmm must be a boolean value"),
        ({"tokenizer": "lindera"}, "lindera tokenizer dict_kind must be set"),
        ({"tokenizer": {"type": "lindera", "dict_kind": 1}}, "lindera tokenizer dict kind should be string"),
        ({"tokenizer": "char_group"}, "char group tokenizer delimiters can't be empty"),
        (
            {"tokenizer": {"type": "char_group", "delimiters": ["ab"]}},
            "ab not a char or name of build-in char group",
        ),
        ({"tokenizer": "language_identifier"}, "analyzers must be set"),
        (
            {"tokenizer": {"type": "language_identifier", "analyzers": {"English": {}}}},
            "default sub analyzer for language identifier analyzer must be set",
        ),
        (
            {"tokenizer": {"type": "language_identifier", "analyzers": {"default": 1}}},
            'sub analyzer "default" params must be dict',
        ),
        (
            {"tokenizer": {"type": "language_identifier", "identifier": "x", "analyzers": {"default": {}}}},
            "unknown identifier name: x",
        ),
        (
            {"tokenizer": {"type": "language_identifier", "identifier": {"type": "x"}, "analyzers": {"default": {}}}},
            "unknown identifier type: x",
        ),
    ],
)
def test_a_wrong_analyzer_is_refused(params: Any, expected: str) -> None:
    assert message(params) == expected
    assert message(msgspec.json.encode(params).decode()) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, "filter should be string or dict"),
        ({}, "no type field in filter params"),
        ({"type": 1}, "filter type should be string"),
        ({"type": "nope"}, "unsupport filter type: nope"),
        ({"type": "lowercase", "x": 1}, "unknown option x of lowercase filter"),
        ({"type": "length"}, "length max param was none or not uint"),
        ({"type": "length", "max": -1}, "length max param was none or not uint"),
        ({"type": "length", "max": True}, "length max param was none or not uint"),
        ({"type": "length", "max": 5, "min": 2}, "unknown option min of length filter"),
        ({"type": "stemmer"}, "stemmer language field should be string"),
        ({"type": "stemmer", "language": "Klingon"}, "create stemmer failed : unsupport language: klingon"),
        ({"type": "decompounder"}, "decompounder word list is empty"),
        ({"type": "decompounder", "word_list": "x"}, "decompounder word list should be array"),
        ({"type": "decompounder", "word_list": [1]}, "decompounder word list item should be string"),
        ({"type": "regex"}, "must set expr for regex filter"),
        ({"type": "regex", "expr": 1}, "expr must be string"),
        ({"type": "synonym", "synonyms": ["a => b => c"]},
         'read synonym dict failed, has more than one "=>" in a => b => c'),
        ({"type": "synonym", "synonyms": ["a b, c"]},
         "read synonym dict failed, has space between words a b, c, please use \\ to escape space"),
        ({"type": "synonym", "synonyms": ["a\\x"]}, "invalid synonym escaped: \\x in a\\x"),
        ({"type": "synonym", "synonyms": ["a\\"]}, "invalid synonym escaped in the end: a\\"),
        ({"type": "synonym", "expand": 1}, "synonym filter expand must be a boolean value"),
        ({"type": "pinyin", "keep_original": 1}, "pinyin filter keep_original must be a boolean value"),
    ],
)  # fmt: skip
def test_a_wrong_filter_is_refused(given: Any, expected: str) -> None:
    assert message({"tokenizer": "standard", "filter": [given]}) == expected


def test_a_wrong_regular_expression_is_refused() -> None:
    assert message({"tokenizer": "standard", "filter": [{"type": "regex", "expr": "("}]}).startswith(
        "regex expression invalid, expr:(, err: "
    )


@pytest.mark.parametrize("text", ["{", "[1]", '"standard"', "null", "{'type': 'standard'}", "\ud800"])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    assert message(text).startswith(("analyzer_params is no valid JSON", "analyzer_params should be a json map"))


def nested(times: int) -> dict[str, Any]:
    deep: dict[str, Any] = {}
    for _ in range(times):
        deep = {"tokenizer": {"type": "language_identifier", "analyzers": {"default": deep}}}
    return deep


def test_params_may_be_nested_so_deep_and_no_deeper() -> None:
    assert words(nested(20), "Hello World") == [["hello", "world"]]
    assert message(nested(22)) == "analyzer_params is nested more than 64 deep"
    for text in ('{"tokenizer":' * 20_000, '{"a":' + "[" * 5_000 + "]" * 5_000 + "}"):
        assert message(text).startswith("analyzer_params is n")


# -- kept ---------------------------------------------------------------------------------------
def test_equal_params_give_the_same_analyzer_and_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"type": "standard", "stop_words": ["kept"]}
    assert analyzer_of(first) is analyzer_of(dict(first))
    before = analyzer_of(first)
    monkeypatch.setattr(specs, "_KEPT", 2)
    for i in range(300):
        analyzer_of({"type": "standard", "stop_words": [f"w{i}"]})
    assert analyzer_of(first) is not before


def test_many_threads_get_what_one_would() -> None:
    texts = [f"The runner number {i} is running on Monday {i % 5}" for i in range(300)]
    analyzer = analyzer_of({"type": "english", "stop_words": ["monday"]})
    expected = [analyzer.analyze([text]).words(0) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: analyzer.analyze([text]).words(0), texts)) == expected


# -- several languages --------------------------------------------------------------------------
MULTI = {
    "by_field": "lang",
    "analyzers": {"default": {}, "en": {"type": "english"}, "zh": {"type": "chinese"}},
    "alias": {"english": "en", "": "zh"},
}


def test_each_text_gets_the_analyzer_that_it_names() -> None:
    several = multi_analyzer_of(MULTI)
    assert several.by_field == "lang"
    assert several.names == {"default", "en", "zh", "english", ""}
    tokens = several.analyze(["running dogs"] * 4 + [None, "中文测试"], ["en", "english", None, "xx", "en", "zh"])
    assert [tokens.words(i) for i in range(6)] == [
        ["run", "dog"], ["run", "dog"], ["running", "dogs"], ["running", "dogs"], [], ["中文", "测试"],
    ]  # fmt: skip
    assert several.analyzer("english") is several.analyzer("en")
    assert len(several.analyze([], [])) == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"by_field": None}, "multi analyzer params now must set by_field to specify with field decide analyzer"),
        ({"by_field": 1}, "multi analyzer params by_field must be string"),
        ({"analyzers": None}, "multi analyzer params must set analyzers, an analyzer of each name"),
        ({"analyzers": {"en": {}}}, "multi analyzer must set default analyzer for all unknown value"),
        ({"analyzers": {"default": {"type": "x"}}}, "analyzer default: unknown build-in analyzer type: x"),
        ({"analyzers": {"default": 1}}, "analyzer default of multi analyzer params must be dict"),
        ({"alias": {"a": 1}}, "multi analyzer params alias must be dict of string"),
        ({"alias": {"a": "b"}}, "alias a of multi analyzer params means b, which has no analyzer"),
        ({"more": 1}, "unknown multi analyzer option key: more"),
    ],
)
def test_wrong_analyzers_of_several_languages_are_refused(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        multi_analyzer_of({**MULTI, "alias": {}, **change})
    assert caught.value.message == f"{expected}: invalid parameter"


def test_a_fields_analyzers_are_those_of_its_params() -> None:
    def field(**params: str) -> FieldSchema:
        return FieldSchema(name="t", data_type=DataType.VARCHAR, params={"max_length": "9", **params})

    assert field_analyzer(field()).analyze(["A"]).words(0) == ["a"]
    assert field_analyzer(field(analyzer_params='{"type":"english"}')).analyze(["dogs"]).words(0) == ["dog"]
    assert field_analyzers(field()) is None
    several = field_analyzers(field(multi_analyzer_params=msgspec.json.encode(MULTI).decode()))
    assert several is not None and several.by_field == "lang"
