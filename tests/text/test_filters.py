"""What filters make of words."""

from __future__ import annotations

import random
import time

import pytest
import Stemmer
import tantivy
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text.views import each_alone, places, words

from redkite.errors import InvalidParameter
from redkite.text.filters.base import Chain, Words
from redkite.text.filters.building import filter_of
from redkite.text.filters.stemmer import STEMMER_LANGUAGES
from redkite.text.filters.stop import STOP_LISTS, stop_list
from redkite.text.resources import NONE
from redkite.text.specs import analyzer_of


def after(given: object, *texts: str) -> list[str]:
    """What one filter makes of words."""
    made = filter_of(given, NONE).apply(Words(list(range(len(texts))), list(texts)))
    return made.words


def raw(*filters: object) -> tantivy.TextAnalyzer:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    for one in filters:
        builder = builder.filter(one)  # type: ignore[arg-type]
    return builder.build()


# -- one word at a time -------------------------------------------------------------------------
def test_lowercase() -> None:
    assert after("lowercase", "ABC", "Ünï", "ΟΔΟΣ", "İ", "中") == ["abc", "ünï", "οδος", "i̇", "中"]


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=1, max_size=8))
def test_ascii_folding_is_tantivys(word: str) -> None:
    assert after("asciifolding", word) == raw(tantivy.Filter.ascii_fold()).analyze(word)


def test_ascii_folding_of_every_letter_is_tantivys() -> None:
    theirs = raw(tantivy.Filter.ascii_fold())
    letters = [chr(point) for point in range(0x80, 0x3000)]
    assert after("asciifolding", *letters) == [theirs.analyze(letter)[0] for letter in letters]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet="aZ9é中_-", min_size=1, max_size=4)))
def test_alphanumonly_is_tantivys(given: list[str]) -> None:
    theirs = raw(tantivy.Filter.alphanum_only())
    assert after("alphanumonly", *given) == [word for word in given if theirs.analyze(word)]


def test_words_of_chinese_characters() -> None:
    given = ("中文", "a中", "abc", "9", "。", "é", "𠮷")
    assert after("cncharonly", *given) == ["中文", "a中", "𠮷"]
    assert after("cnalphanumonly", *given) == ["中文", "a中", "abc", "9", "𠮷"]


def test_punctuation_alone_is_removed() -> None:
    assert after("removepunct", "a", ",", "。！", " \n", "C++", "3.14", "🎉", "«") == ["a", "C++", "3.14", "🎉"]


def test_digits_of_any_script_become_ascii() -> None:
    assert after("decimaldigit", "١٢٣", "๔๕๖a", "12", "Ⅷ", "²") == ["123", "456a", "12", "Ⅷ", "²"]


def test_arabic_letters_and_marks_are_made_alike() -> None:
    given = ("أحمد", "إسلام", "آمن", "مدرسة", "مصطفى", "كِتَابٌ", "عـــربي", "x")
    assert after("arabic_normalization", *given) == ["احمد", "اسلام", "امن", "مدرسه", "مصطفي", "كتاب", "عربي", "x"]


def test_length_counts_bytes_and_keeps_words_of_the_greatest() -> None:
    theirs = raw(tantivy.Filter.remove_long(5))
    given = ["abcd", "abcde", "éé", "éée", "中", "中文", ""]
    kept = [word for word in given if theirs.analyze(word)]
    assert after({"type": "length", "max": 4}, *given) == kept == ["abcd", "éé", "中", ""]


def test_a_regular_expression_says_what_stays() -> None:
    assert after({"type": "regex", "expr": "^(?!test)"}, "test", "testing", "milvus") == ["milvus"]
    assert after({"type": "regex", "expr": "[0-9]"}, "a1b", "ab") == ["a1b"]


def test_an_expression_that_takes_for_ever_is_given_up_and_the_word_stays() -> None:
    evil = {"type": "regex", "expr": "(?:a|aa)+$"}
    assert after(evil, "a" * 60 + "!", "aaa", "b") == ["a" * 60 + "!", "aaa"]


def test_what_a_regular_expression_keeps_depends_on_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = {"type": "regex", "expr": "(?:a|aa)+$"}
    words = ["a" * length + "!" for length in range(1, 60)]
    kept = after(evil, *words)
    assert 0 < len(kept) < len(words), "short ones are told, long ones are not"
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    for _ in range(3):
        began = time.process_time()
        while time.process_time() - began < 0.01:
            pass
        assert after(evil, *words) == kept
    assert [word for word in words for _ in after(evil, word)] == kept


def test_many_words_that_take_a_regular_expression_for_ever_are_refused_soon() -> None:
    evil = {"type": "regex", "expr": "(?:a|aa)+$"}
    words = ["a" * 40 + f"{number}!" + "a" * 40 + "!" for number in range(20_000)]
    began = time.process_time()
    with pytest.raises(InvalidParameter, match="steps for each of 20000 words"):
        after(evil, *words)
    assert time.process_time() - began < 10


def test_limits_in_an_expression_do_not_raise_its_limits() -> None:
    evil = "(*LIMIT_MATCH=4000000000)(?:a|aa)+$"
    began = time.process_time()
    assert after({"type": "regex", "expr": evil}, "a" * 200 + "!") == ["a" * 200 + "!"]
    assert time.process_time() - began < 5


@pytest.mark.parametrize("expr", ["(a", "a{3,1}", "[z-a]", "(?<n>a)(?<n>b)", "\\", "a" * 5000])
def test_what_is_no_regular_expression_is_refused(expr: str) -> None:
    with pytest.raises(InvalidParameter, match="regex expression invalid"):
        filter_of({"type": "regex", "expr": expr}, NONE)


def test_a_fault_in_an_expression_is_told_where_it_was_written() -> None:
    with pytest.raises(InvalidParameter, match=r"expr:ab\[, err: compilation failed at position 3; missing"):
        filter_of({"type": "regex", "expr": "ab["}, NONE)


def test_regular_expressions_know_letters_of_all_scripts() -> None:
    assert after({"type": "regex", "expr": r"^\w+$"}, "ünï", "中文", "a-b") == ["ünï", "中文"]
    assert after({"type": "regex", "expr": r"^\d+$"}, "١٢٣", "12", "x") == ["١٢٣", "12"]
    assert after({"type": "regex", "expr": r"(?i)^STRASSE$"}, "strasse", "x") == ["strasse"]


def test_a_long_list_of_parts_is_no_slower_than_a_short_one() -> None:
    parts = [f"{number:06d}" for number in range(50_000)]
    began = time.process_time()
    made = after({"type": "decompounder", "word_list": parts}, *(f"{number:012d}" for number in range(20_000)))
    assert made[:2] == ["000000", "000000"] and time.process_time() - began < 2


@pytest.mark.parametrize("name", ["english", "standard", "arabic"])
def test_huge_and_odd_words_pass_through_every_filter(name: str) -> None:
    huge = "running" * 100_000
    filters = ["asciifolding", "decimaldigit", "arabic_normalization", COMPOUND, {"type": "regex", "expr": "."}]
    params = {"tokenizer": "standard", "filter": [*filters, {"type": "length", "max": 800_000}]}
    for text in (huge, "a\u0000b", "é" * 10_000, "\u0301\u0301", "👩‍👩‍👧"):
        assert all(words(params, text)) or not text.isalnum()
        assert len(words({"type": name}, text)) == 1


# -- stop words ---------------------------------------------------------------------------------
@pytest.mark.parametrize("language", sorted(STOP_LISTS - {"arabic", "chinese", "thai"}))
def test_stop_lists_are_tantivys(language: str) -> None:
    theirs = raw(tantivy.Filter.stopword(language))
    assert [word for word in stop_list(language) if theirs.analyze(word)] == []


def test_named_lists_and_words_are_dropped_together() -> None:
    stop = {"type": "stop", "stop_words": ["_english_", "_german_", "zebra", "_none_"]}
    given = ("the", "der", "zebra", "The", "el", "_none_", "_english_")
    assert after(stop, *given) == ["The", "el", "_english_"]
    assert all(stop_list(language) for language in STOP_LISTS)
    assert {"的", "这些"} <= stop_list("chinese") and "ที่" in stop_list("thai") and "من" in stop_list("arabic")


def test_a_dropped_word_leaves_a_gap() -> None:
    tokens = analyzer_of({"type": "standard", "stop_words": ["the", "of"]}).analyze(["the king of the hill", "the"])
    assert places(tokens) == [[("king", 4, 8, 1), ("hill", 16, 20, 4)], []]


# -- stems --------------------------------------------------------------------------------------
@pytest.mark.parametrize("language", sorted(STEMMER_LANGUAGES))
def test_stems_are_snowballs_and_tantivys(language: str) -> None:
    given = sorted(stop_list(language)) if language in STOP_LISTS else ["γραμμάτων", "copiilor", "kitaplardan", "நாட்கள்"]
    stems = after({"type": "stemmer", "language": language}, *given)
    assert stems == Stemmer.Stemmer(language).stemWords(given)
    theirs = raw(tantivy.Filter.stemmer(language))
    assert stems == [theirs.analyze(word)[0] for word in given]


def test_words_that_have_one_stem_become_one_word() -> None:
    tokens = analyzer_of({"type": "english"}).analyze(["running runs run ran", "Runs"])
    assert [tokens.words(0), tokens.words(1)] == [["run", "run", "run", "ran"], ["run"]]
    assert sorted(tokens.vocabulary) == ["ran", "run"]


# -- words from words ---------------------------------------------------------------------------
COMPOUND = {"type": "decompounder", "word_list": ["dampf", "schiff", "fahrt", "dampfschiff", ""]}


def test_compounds_are_taken_apart_into_the_longest_parts() -> None:
    given = ("dampfschifffahrt", "schifffahrt", "schiffx", "dampf", "fahrtdampfschiff", "boot")
    assert after(COMPOUND, *given) == [
        "dampfschiff", "fahrt", "schiff", "fahrt", "schiffx", "dampf", "fahrt", "dampfschiff", "boot",
    ]  # fmt: skip
    theirs = raw(tantivy.Filter.split_compound([w for w in COMPOUND["word_list"] if w]))
    assert after(COMPOUND, *given) == [word for one in given for word in theirs.analyze(one)]


def test_parts_stand_where_the_compound_stood() -> None:
    tokens = analyzer_of({"tokenizer": "standard", "filter": [COMPOUND]}).analyze(["die schifffahrt ist", "schiff"])
    assert places(tokens) == [
        [("die", 0, 3, 0), ("schiff", 4, 15, 1), ("fahrt", 4, 15, 1), ("ist", 16, 19, 2)],
        [("schiff", 0, 6, 0)],
    ]


@pytest.mark.parametrize(
    ("expand", "expected"),
    [
        (True, ["fast", "speedy", "joyful", "happy", "cheerful", "other", "small", "tiny", "compact", "=>", "a b"]),
        (False, ["speedy", "happy", "other", "tiny", "compact", "=>"]),
    ],
)
def test_synonyms_are_added_or_put_in_the_place_of_words(expand: bool, expected: list[str]) -> None:
    rules = [
        "fast, quick => speedy", "happy, joyful ,cheerful", " small,little=>tiny , compact", r"\=>, a\ b",
    ]  # fmt: skip
    synonym = {"type": "synonym", "expand": expand, "synonyms": rules}
    made = after(synonym, "fast", "joyful", "other", "small", "=>")
    assert sorted(made) == sorted(expected)
    assert set(after(synonym, "a b")) == ({"=>", "a b"} if expand else {"=>"})


def test_synonyms_keep_the_place_of_their_word() -> None:
    params = {"tokenizer": "standard", "filter": ["lowercase", {"type": "synonym", "synonyms": ["big, large"]}]}
    assert places(analyzer_of(params).analyze(["A Big dog"])) == [
        [("a", 0, 1, 0), ("big", 2, 5, 1), ("large", 2, 5, 1), ("dog", 6, 9, 2)]
    ]


def test_pinyin_of_chinese_words() -> None:
    def spelled(**options: bool) -> list[list[str]]:
        params = {"tokenizer": "jieba", "filter": [{"type": "pinyin", "keep_original": False, **options}]}
        return words(params, "中文测试 abc")

    assert words({"tokenizer": "jieba", "filter": ["pinyin"]}, "中文") == [["中文", "zhong", "wen"]]
    assert spelled() == [["zhong", "wen", "ce", "shi"]]
    assert spelled(keep_full_pinyin=False, keep_joined_full_pinyin=True) == [["zhongwen", "ceshi"]]
    assert spelled(keep_full_pinyin=False, keep_separate_first_letter=True) == [["zw", "cs"]]


# -- many words ---------------------------------------------------------------------------------
FILTERS = ["lowercase", {"type": "synonym", "synonyms": ["a, b, c"]}, COMPOUND, {"type": "stop", "stop_words": ["x"]}]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["A", "b", "x", "schifffahrt", "y", "é"]), max_size=6).map(" ".join)))
def test_texts_together_and_each_alone_give_the_same(given: list[str]) -> None:
    analyzer = analyzer_of({"tokenizer": "standard", "filter": FILTERS})
    assert places(analyzer.analyze(given)) == each_alone(analyzer, given)


def test_many_words_and_few_words_become_the_same() -> None:
    draw = random.Random(1)
    texts = [" ".join(f"W{draw.randrange(300)}" for _ in range(draw.randrange(9))) + " A x" for _ in range(200)]
    analyzer = analyzer_of({"tokenizer": "standard", "filter": FILTERS})
    assert places(analyzer.analyze(texts)) == each_alone(analyzer, texts)


def test_what_has_become_empty_is_no_word() -> None:
    params = {"tokenizer": "whitespace", "filter": ["arabic_normalization"]}
    assert places(analyzer_of(params).analyze(["a ـ b"])) == [[("a", 0, 1, 0), ("b", 4, 5, 2)]]


def test_a_chain_remembers_no_more_words_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.text.filters.base._KNOWN", 3)
    chain = Chain([filter_of("lowercase", NONE)])
    analyzer = analyzer_of({"tokenizer": "standard"})
    for text in ("A B", "C D", "E F A", "A"):
        assert chain.apply(analyzer.analyze([text])).words(0) == text.lower().split()
