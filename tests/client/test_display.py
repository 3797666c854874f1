"""What notebooks show."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

import redkite
from redkite.client.display import cell_text
from redkite.model.plan_html import plan_html

HOSTILE = '<script>alert(1)</script><img src=x onerror="x">&'


class Tags(HTMLParser):
    """The tags of a piece of HTML; fails for one that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redkite.MilvusClient]:
    with redkite.MilvusClient(str(tmp_path_factory.mktemp("display") / "test.db")) as made:
        schema = made.create_schema(enable_dynamic_field=True, description=HOSTILE)
        schema.add_field("id", redkite.DataType.INT64, is_primary=True)
        schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=8, description=HOSTILE)
        params = made.prepare_index_params()
        params.add_index("vector", metric_type="L2")
        made.create_collection("books", schema=schema, index_params=params)
        made.insert("books", [{"id": at, "vector": [at] * 8, "title": HOSTILE, HOSTILE: at} for at in range(30)])
        yield made


def shown(thing: object) -> str:
    text: str = thing._repr_html_()  # type: ignore[attr-defined]
    assert Tags(text).seen <= {"table", "thead", "tbody", "tr", "th", "td", "p", "b", "ul", "li"}
    return text


def test_hits_are_a_table_with_their_distances(client: redkite.MilvusClient) -> None:
    found = client.search("books", [[3.0] * 8, [4.0] * 8], limit=12, output_fields=["*"])
    text = shown(found)
    assert text.count("<table>") == 2
    assert "query 1" in text
    assert "and 2 more hits" in text
    assert "distance" in text
    assert re.search(r"\[3, 3, 3, … 8\]", text)
    assert shown(found[0]).count("<tr>") == 11


def test_rows_are_a_table_that_ends(client: redkite.MilvusClient) -> None:
    text = shown(client.query("books", filter="id >= 0", limit=25, output_fields=["title"]))
    assert text.count("<tr>") == 11
    assert "and 15 more rows" in text
    assert "<table>" in shown(client.query("books", filter="id < 0", limit=5))


def test_hostile_texts_stay_texts(client: redkite.MilvusClient) -> None:
    rows = client.query("books", filter="id == 1", limit=1, output_fields=["*"])
    assert "&lt;script&gt;" in shown(rows)
    assert "&lt;script&gt;" in shown(client.describe_collection("books"))
    found = client.search("books", [[3.0] * 8], limit=1, filter="title != '<script>'", explain=True)
    assert found.explanation is not None
    assert "&lt;script&gt;" in shown(found.explanation)


def test_a_description_is_a_dict_that_shows_its_fields(client: redkite.MilvusClient) -> None:
    found = client.describe_collection("books")
    text = shown(found)
    assert "primary key" in text
    assert "FLOAT_VECTOR" in text
    assert "dim=8" in text
    assert isinstance(found, dict)
    assert found == dict(found)
    assert json.loads(json.dumps(found))["collection_name"] == "books"
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == found


def test_a_plan_is_a_tree() -> None:
    text = plan_html("search\n  filter\n  sealed 1\n    compare\n  read")
    assert text == (
        "<ul><li>search<ul><li>filter</li><li>sealed 1<ul><li>compare</li></ul></li><li>read</li></ul></li></ul>"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456789, "0.123457"),
        (None, "None"),
        ([1, 2], "[1, 2]"),
        ([0.5] * 4, "[0.5, 0.5, 0.5, … 4]"),
        ({1: 0.5, 2: 0.5, 3: 0.5, 4: 1.0}, "{1: 0.5, 2: 0.5, 3: 0.5, … 4}"),
        (bytes(16), "00 00 00 00 00 00 00 00 … (16 bytes)"),
        ("x" * 200, "x" * 120 + " …"),
        ({"a": [1]}, "{'a': [1]}"),
    ],
)
def test_values_fit_on_a_line(value: object, text: str) -> None:
    assert cell_text(value) == text
