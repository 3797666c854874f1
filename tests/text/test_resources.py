"""Dictionaries in files, as analyzers name them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.text.views import words

from redkite.errors import InvalidParameter
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType
from redkite.text.resources import FILES_PARAM, NONE, pack
from redkite.text.specs import analyzer_of, field_analyzer

FILES = {
    "stops": "the\r\n\n  of \n_english_x\n".encode("utf-8-sig"),
    "parts": b"dampf\nschiff\n",
    "synonyms": b"big, large\nfast => quick\n",
    "jieba": "结巴分词器 100 n\n云原生\n".encode(),
    "latin": "é\n".encode("latin-1"),
    "odd": b"word many n\n",
}


class Registered:
    """Files that a database would have."""

    key = "test"

    def read(self, name: str) -> bytes:
        if name not in FILES:
            raise InvalidParameter(f"file resource {name} not found")
        return FILES[name]

    def read_local(self, path: str) -> bytes:
        return self.read(path.removeprefix("/somewhere/"))


def remote(name: str) -> dict[str, str]:
    return {"type": "remote", "resource_name": name, "file_name": f"{name}.txt"}


def local(name: str) -> dict[str, str]:
    return {"type": "local", "path": f"/somewhere/{name}"}


STOP = {"tokenizer": "standard", "filter": [{"type": "stop", "stop_words": ["a"], "stop_words_file": remote("stops")}]}
ALL = [
    (STOP, "a king of the hill", ["king", "hill"]),
    (
        {"tokenizer": "standard", "filter": [{"type": "decompounder", "word_list_file": local("parts")}]},
        "dampfschiff ahoi", ["dampf", "schiff", "ahoi"],
    ),
    (
        {"tokenizer": "standard", "filter": [{"type": "synonym", "synonyms_file": remote("synonyms")}]},
        "big fast dog", ["big", "large", "fast", "quick", "dog"],
    ),
    (
        {"tokenizer": {"type": "jieba", "mode": "exact", "extra_dict_file": remote("jieba")}},
        "云原生结巴分词器", ["云原生", "结巴分词器"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("params", "text", "expected"), ALL)
def test_words_come_from_files(params: dict[str, Any], text: str, expected: list[str]) -> None:
    assert analyzer_of(params, Registered()).analyze([text]).words(0) == expected


@pytest.mark.parametrize(("params", "text", "expected"), ALL)
def test_a_field_carries_what_it_has_read(params: dict[str, Any], text: str, expected: list[str]) -> None:

    packed = pack(params, Registered())
    written = {"analyzer_params": msgspec.json.encode(params).decode(), FILES_PARAM: packed}
    field = FieldSchema(name="t", data_type=DataType.VARCHAR, params=written)
    assert field_analyzer(field).analyze([text]).words(0) == expected
    assert field_analyzer(field) is field_analyzer(field)


def test_params_without_files_carry_nothing() -> None:
    assert pack({"tokenizer": "standard", "filter": [{"type": "stop", "stop_words": ["a"]}]}, NONE) == ""


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("stops", "file config of stop words dict file must be object"),
        ({}, "file type of stop words dict file must be set"),
        ({"type": 1}, "file type of stop words dict file must be string"),
        ({"type": "resource"}, "unsupported file type resource of stop words dict file"),
        ({"type": "local"}, "file path of local file `stop words dict file` must be set"),
        ({"type": "local", "path": 1}, "file path of local file `stop words dict file` must be string"),
        ({"type": "remote", "name": "x", "file_name": "x"},
         "resource name of remote file `stop words dict file` must be set"),
        ({"type": "remote", "resource_name": "x"}, "file name of remote file `stop words dict file` must be set"),
        (remote("missing"), "file resource missing not found"),
        (remote("latin"), "read stop words dict file file failed, error: unexpected end of data at byte 0"),
    ],
)  # fmt: skip
def test_a_file_that_is_named_wrongly_is_refused(where: Any, expected: str) -> None:
    params = {"tokenizer": "standard", "filter": [{"type": "stop", "stop_words_file": where}]}
    with pytest.raises(InvalidParameter) as caught:
        analyzer_of(params, Registered())
    assert caught.value.message.startswith(expected.split(" error:")[0])


def test_a_dictionary_line_without_a_number_is_refused() -> None:
    params = {"tokenizer": {"type": "jieba", "extra_dict_file": remote("odd")}}
    with pytest.raises(InvalidParameter, match="line 'word many n' of a jieba dictionary: the frequency many is no"):
        analyzer_of(params, Registered())


def test_there_is_no_file_where_there_is_no_database() -> None:
    with pytest.raises(InvalidParameter, match="file resource stops not found"):
        words(STOP, "a")
    with pytest.raises(InvalidParameter, match="local file /x cannot be read here"):
        words(
            {"tokenizer": "standard", "filter": [{"type": "stop", "stop_words_file": {"type": "local", "path": "/x"}}]}
        )
