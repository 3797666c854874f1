"""`redkite sql`: one statement, or a prompt for many."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import IO, Literal

import orjson
from pyarrow import csv

from redkite.client import MilvusClient
from redkite.client.sql import SqlResult
from redkite.errors import MilvusException

Format = Literal["table", "csv", "json"]
_PROMPT, _MORE = "sql> ", "  …> "


def run(uri: str, token: str, database: str, statement: str, form: Format, out: IO[str]) -> int:
    """Answer a statement, or without one those that are typed or piped in, each ended by `;`."""
    with MilvusClient(uri, token=token, db_name=database) as client:
        if statement:
            show(client.sql(statement), form, out)
            return 0
        return _prompted(client, form, out)


def show(found: SqlResult, form: Format, out: IO[str]) -> None:
    """A table of the first rows; or all of them, as CSV or as one JSON object a line."""
    if form == "csv":
        written = BytesIO()
        csv.write_csv(found.to_arrow(), written)
        out.write(written.getvalue().decode())
    elif form == "json":
        for row in found:
            out.write(orjson.dumps(row, default=str).decode() + "\n")
    else:
        out.write(f"{found!r}\n")


def _prompted(client: MilvusClient, form: Format, out: IO[str]) -> int:
    typed = sys.stdin.isatty()
    status, text = 0, ""
    while True:
        if typed:
            out.write(_MORE if text else _PROMPT)
            out.flush()
        line = sys.stdin.readline()
        if not line and not text.strip():
            return status
        text += line
        if line and not text.rstrip().endswith(";"):
            continue
        statement, text = text, ""
        if not statement.strip(" \n;"):
            continue
        try:
            show(client.sql(statement), form, out)
        except MilvusException as error:
            print(f"redkite sql: {error.message}", file=sys.stderr)
            status = 1
