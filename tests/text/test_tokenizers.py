"""Tokenizers that stand on libraries, beside those libraries."""

from __future__ import annotations

import sys

import lindera
import pytest
import rjieba
import whatlang
from hypothesis import given, settings
from hypothesis import strategies as st
from icu4py.breakers import WordBreaker
from tests.text.views import each_alone, places, words

from redkite.errors import InvalidParameter, Unimplemented
from redkite.text import languages
from redkite.text.specs import analyzer_of
from redkite.text.tokenizers.jieba import _load

CHINESE = "我来到北京清华大学。milvus结巴分词器中文测试"
JAPANESE = "東京スカイツリーの最寄り駅はとうきょうスカイツリー駅です。𠮷野家 ok"
HOSTILE = ["", " ", "\u0000a\u0000", "é́", "👩‍👩‍👧 x", "\ufeff中", "a" * 20_000, "中" * 3_000, "\n\r\n"]
LIBRARIES = [
    {"tokenizer": "jieba"}, {"tokenizer": "icu"}, {"tokenizer": "thai"},
    {"tokenizer": {"type": "lindera", "dict_kind": "ipadic"}},
]  # fmt: skip


@pytest.mark.parametrize("params", LIBRARIES, ids=str)
def test_odd_texts_are_cut_without_losing_their_places(params: object) -> None:
    analyzer = analyzer_of(params)  # type: ignore[arg-type]
    given = [*HOSTILE, CHINESE, JAPANESE, None, "สวัสดีครับ 123"]
    found = places(analyzer.analyze(given))
    for text, pieces in zip(given, found, strict=True):
        assert [(text or "")[begin:end] for _, begin, end, _ in pieces] == [word for word, *_ in pieces]
    assert found == each_alone(analyzer, given)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(alphabet="中文测试abc 1。éカタカナ𠮷🎉ไทย", max_size=20), max_size=5))
@pytest.mark.parametrize("params", LIBRARIES, ids=str)
def test_offsets_cut_each_word_out_of_its_text(params: object, given: list[str]) -> None:
    for text, pieces in zip(given, places(analyzer_of(params).analyze(given)), strict=True):  # type: ignore[arg-type]
        assert [text[begin:end] for _, begin, end, _ in pieces] == [word for word, *_ in pieces]


# -- jieba --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("mode", "theirs"), [("exact", "default"), ("search", "search")])
@pytest.mark.parametrize("hmm", [True, False])
def test_jieba_cuts_as_the_library_does(mode: str, theirs: str, hmm: bool) -> None:
    params = {"tokenizer": {"type": "jieba", "mode": mode, "hmm": hmm}}
    tokens = analyzer_of(params).analyze([CHINESE])
    expected = rjieba.Jieba().tokenize(CHINESE, theirs, hmm)
    assert [(word, begin, end) for word, begin, end, _ in places(tokens)[0]] == expected
    assert tokens.positions.tolist() == [begin for _, begin, _ in expected]
    assert tokens.lengths is not None
    assert tokens.lengths.tolist() == [end - begin for _, begin, end in expected]


def test_jieba_takes_words_of_the_users_own() -> None:
    text = "milvus结巴分词器中文测试"
    own = {"tokenizer": {"type": "jieba", "dict": ["结巴分词器"], "mode": "exact", "hmm": False}}
    assert words(own, text) == [["milvus", "结巴分词器", "中", "文", "测", "试"]]
    both = {"tokenizer": {"type": "jieba", "dict": ["_default_", "结巴分词器"], "mode": "exact"}}
    assert words(both, text) == [["milvus", "结巴分词器", "中文", "测试"]]
    assert words({"tokenizer": {"type": "jieba", "mode": "exact"}}, text) != words(both, text)


def test_one_dictionary_is_loaded_once() -> None:
    analyzer_of({"tokenizer": {"type": "jieba"}})
    before = _load.cache_info().misses
    analyzer_of({"tokenizer": {"type": "jieba", "mode": "exact"}})
    assert _load.cache_info().misses == before


def test_the_extended_dictionary_of_jieba_knows_traditional_characters() -> None:
    text = "臺灣大學圖書館的電腦系統"
    plain = {"tokenizer": {"type": "jieba", "mode": "exact", "hmm": False}}
    extended = {"tokenizer": {"type": "jieba", "dict": ["_extend_default_"], "mode": "exact", "hmm": False}}
    assert words(extended, text) == [["臺灣大學", "圖書館", "的", "電腦系統"]]
    assert words(plain, text) != words(extended, text)
    assert words(extended, CHINESE) == words(plain, CHINESE)


def test_a_dictionary_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.text.tokenizers.jieba.find_spec", lambda _: None)
    with pytest.raises(Unimplemented, match=r"_extend_default_.*jieba3"):
        analyzer_of({"tokenizer": {"type": "jieba", "dict": ["_extend_default_", "一"]}})


# -- icu, thai, lindera -------------------------------------------------------------------------
def test_icu_gives_every_piece_between_two_boundaries() -> None:
    text = f"tokenizer for global doc, can't 3.14 {JAPANESE}"
    tokens = analyzer_of({"tokenizer": "icu"}).analyze([text])
    assert tokens.words(0) == list(WordBreaker(text, "en"))
    assert tokens.positions.tolist() == tokens.begins.tolist()
    assert words({"tokenizer": "icu", "filter": ["removepunct"]}, "Привет! Как дела?") == [["Привет", "Как", "дела"]]


def test_thai_words_are_counted_without_blanks_and_punctuation() -> None:
    text = "สวัสดี! ทดสอบ, ระบบ. การทดสอบภาษาไทย"
    (found,) = places(analyzer_of({"tokenizer": "thai"}).analyze([text]))
    assert [word for word, *_ in found] == [w for w in WordBreaker(text, "th") if any(c.isalpha() for c in w)]
    assert [position for *_, position in found] == list(range(len(found)))


def test_lindera_cuts_as_the_library_does() -> None:
    theirs = lindera.Tokenizer(lindera.load_dictionary("embedded://ipadic"), mode="normal").tokenize(JAPANESE)
    tokens = analyzer_of({"tokenizer": {"type": "lindera", "dict_kind": "ipadic"}}).analyze([JAPANESE])
    raw = JAPANESE.encode()
    assert [(word, begin) for word, begin, _, _ in places(tokens)[0]] == [
        (t.surface, len(raw[: t.byte_start].decode())) for t in theirs
    ]
    assert tokens.positions.tolist() == list(range(len(theirs)))


@pytest.mark.parametrize(
    ("dictionary", "text", "expected"),
    [
        ("ko-dic", "대한민국의 수도는 서울입니다", ["대한민국", "의", "수도", "는", "서울", "입니다"]),
        ("cc-cedict", "中文分词测试", ["中文", "分词", "测试"]),
    ],
)
def test_lindera_cuts_korean_and_chinese(dictionary: str, text: str, expected: list[str]) -> None:
    made = analyzer_of({"tokenizer": {"type": "lindera", "dict_kind": dictionary}})
    tokens = made.analyze([text, ""])
    assert [word for word, *_ in places(tokens)[0]] == expected
    assert all(text[begin:end] == word for word, begin, end, _ in places(tokens)[0])


COMPOUNDS = {
    "kind": "japanese_compound_word",
    "tags": ["名詞,数", "名詞,接尾,助数詞", "名詞,固有名詞,地域,一般", "名詞,接尾,地域"],
}


@pytest.mark.parametrize(
    ("dictionary", "text", "filters"),
    [
        ("ipadic", JAPANESE, [{"kind": "japanese_stop_tags", "tags": ["助詞", "助詞,連体化", "記号,句点"]}]),
        ("ipadic", JAPANESE, [{"kind": "japanese_keep_tags", "tags": ["名詞,一般", "名詞,固有名詞,地域,一般"]}]),
        ("ipadic", "東京都に 10 月 1 日まで住む 東京", [COMPOUNDS]),
        ("ipadic", "東京都に10月", [COMPOUNDS | {"new_tag": "x"}, {"kind": "japanese_stop_tags", "tags": ["x"]}]),
        ("ipadic", "東京に京都", [{"kind": "japanese_stop_tags", "tags": ["助詞,格助詞,一般"]}, COMPOUNDS]),
        ("ko-dic", "서울에서 맛있는 음식을", [{"kind": "korean_stop_tags", "tags": ["JKB", "JKO"]}]),
        ("ko-dic", "서울에서 xyz 中 음식을", [{"kind": "korean_keep_tags", "tags": ["NNP", "NNG"]}]),
    ],
    ids=["stop", "keep", "compound", "compound then stop", "stop then compound", "korean stop", "korean keep"],
)  # fmt: skip
def test_filters_of_lindera_choose_words_as_the_library_does(
    dictionary: str, text: str, filters: list[dict[str, object]]
) -> None:
    builder = lindera.TokenizerBuilder().set_dictionary(f"embedded://{dictionary}")
    for one in filters:
        builder = builder.append_token_filter(str(one["kind"]), {key: one[key] for key in one if key != "kind"})
    theirs = builder.build().tokenize(text)
    params = {"tokenizer": {"type": "lindera", "dict_kind": dictionary, "filter": filters}}
    plain, tokens = (analyzer_of(one).analyze(["", text]) for one in (_without_filters(params), params))
    raw = text.encode()
    assert places(tokens) == [
        [],
        [(t.surface, len(raw[: t.byte_start].decode()), len(raw[: t.byte_end].decode()), t.position) for t in theirs],
    ]
    assert 0 < len(tokens.codes) < len(plain.codes)


def _without_filters(params: dict[str, dict[str, object]]) -> dict[str, object]:
    return {"tokenizer": {key: value for key, value in params["tokenizer"].items() if key != "filter"}}


def test_words_that_lindera_joined_say_how_many_they_were() -> None:
    params = {"tokenizer": {"type": "lindera", "dict_kind": "ipadic", "filter": [COMPOUNDS]}}
    tokens = analyzer_of(params).analyze(["東京都に住む"])
    assert tokens.words(0) == ["東京都", "に", "住む"]
    assert tokens.lengths is not None
    assert tokens.lengths.tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({}, "lindera filters should be array"),
        ([5], "lindera tokenizer filter params must be object"),
        ([{"tags": []}], "lindera tokenizer filter must have type"),
        ([{"kind": 5}], "lindera tokenizer filter type should be string"),
        (["japanese_stop_tag"], "unknown lindera filter type: japanese_stop_tag, there are japanese_stop_tags"),
        (["japanese_stop_tags"], "lindera japanese_stop_tags filter tags must be set"),
        ([{"kind": "korean_keep_tags", "tags": "NNG"}], "lindera korean_keep_tags filter tags must be array"),
        ([{"kind": "korean_stop_tags", "tags": [1]}], "lindera korean_stop_tags filter tags must be string"),
        ([{"kind": "korean_stop_tags", "tags": [], "tag": 1}], "unknown option tag of lindera filter korean_stop_tags"),
        ([COMPOUNDS | {"new_tag": 1}], "lindera japanese_compound_word filter new_tag must be string"),
    ],
)
def test_filters_of_lindera_that_cannot_be_are_refused(filters: object, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        analyzer_of({"tokenizer": {"type": "lindera", "dict_kind": "ipadic", "filter": filters}})


def test_a_lindera_dictionary_in_another_package_is_named() -> None:
    with pytest.raises(Unimplemented, match="pip install lindera-python-unidic"):
        analyzer_of({"tokenizer": {"type": "lindera", "dict_kind": "unidic"}})
    with pytest.raises(InvalidParameter, match="unsupported lindera dict type: x"):
        analyzer_of({"tokenizer": {"type": "lindera", "dict_kind": "x"}})


# -- languages ----------------------------------------------------------------------------------
ENGLISH = "The quick brown foxes are jumping over the lazy dogs of the neighbourhood."
MIXED = {
    "tokenizer": {
        "type": "language_identifier",
        "identifier": "whatlang",
        "analyzers": {"default": {}, "English": {"type": "english"}, "zh": {"tokenizer": "jieba"}},
        "mapping": {"Mandarin": "zh"},
    }
}


def test_each_text_is_read_by_the_rules_of_its_language() -> None:
    given = ["", ENGLISH, "测试中文文本", "Съешь ещё этих мягких французских булок", ENGLISH]
    english, chinese = words({"type": "english"}, ENGLISH)[0], words({"tokenizer": "jieba"}, given[2])[0]
    russian = words({"type": "standard"}, given[3])[0]
    assert words(MIXED, *given) == [[], english, chinese, russian, english]
    assert places(analyzer_of(MIXED).analyze(given)) == each_alone(analyzer_of(MIXED), given)


def test_filters_behind_a_language_identifier_are_for_every_language() -> None:
    found = words({**MIXED, "filter": [{"type": "length", "max": 4}]}, ENGLISH)[0]
    assert found and max(map(len, found)) <= 4 and "dog" in found


def test_a_language_that_is_not_sure_enough_is_the_default() -> None:
    sure = {**MIXED["tokenizer"], "identifier": {"type": "whatlang", "confidence": 1.0}}
    assert words({"tokenizer": sure}, ENGLISH) == words({"type": "standard"}, ENGLISH)


def test_every_language_of_the_library_has_a_name() -> None:
    samples = {
        "eng": ENGLISH,
        "jpn": "これは日本語のテキストです",
        "kor": "한국어 텍스트입니다",
        "ell": "Αυτό είναι κείμενο",
    }
    for code, text in samples.items():
        assert whatlang.detect(text).lang == code
        assert languages.Whatlang().languages([text]) == [languages._NAMES[code]]
    assert languages.Whatlang().languages(["", "123"]) == ["default", "default"]


# -- what is not there --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("module", "params", "package"),
    [
        ("rjieba", {"tokenizer": {"type": "jieba", "dict": ["无"]}}, r"redkite\[text\]' \(or rjieba"),
        ("icu4py.breakers", {"tokenizer": "icu", "filter": []}, "icu4py"),
        ("icu4py.breakers", {"type": "thai", "stop_words": ["a"]}, "icu4py"),
        ("whatlang", {"tokenizer": {"type": "language_identifier", "analyzers": {"default": {}}}}, "whatlang-pyo3"),
        ("pcre2", {"tokenizer": "standard", "filter": [{"type": "regex", "expr": "a"}]}, r"redkite\[text\]"),
        ("pypinyin", {"tokenizer": "standard", "filter": ["pinyin", "lowercase"]}, "pypinyin"),
        (
            "lingua",
            {"tokenizer": {"type": "language_identifier", "identifier": "lingua", "analyzers": {"default": {}}}},
            "pip install lingua-language-detector",
        ),
    ],
)
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, module: str, params: object, package: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Unimplemented, match=package):
        analyzer_of(params)  # type: ignore[arg-type]


def test_the_grpc_tokenizer_is_refused() -> None:
    with pytest.raises(Unimplemented, match="grpc tokenizer"):
        analyzer_of({"tokenizer": {"type": "grpc", "endpoint": "x"}})
