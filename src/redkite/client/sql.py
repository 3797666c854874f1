"""SQL over collections: DuckDB runs the statement, over the columns of the collections that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from redkite.errors import InvalidParameter, ParamError, Unavailable

if TYPE_CHECKING:
    import pandas as pd

_MISSING = re.compile(r"Table with name (.+?) does not exist")
_SCAN = "ARROW_SCAN"


class SqlResult(Sequence[dict[str, Any]]):
    """The rows that a statement answers: one dict each, made when they are looked at."""

    def __init__(self, table: pa.Table, shown: str) -> None:
        self._table = table
        self._shown = shown

    def to_arrow(self) -> pa.Table:
        return self._table

    def to_pandas(self) -> pd.DataFrame:
        return self._table.to_pandas()

    @property
    def columns(self) -> list[str]:
        """Their names, in order."""
        names: list[str] = self._table.column_names
        return names

    def __len__(self) -> int:
        count: int = self._table.num_rows
        return count

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return self._table.take(pa.array(range(*at.indices(len(self))))).to_pylist()
        index = at if at >= 0 else at + len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"row {at} of {len(self)}")
        return self._table.slice(index, 1).to_pylist()[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._table.to_pylist())

    def __repr__(self) -> str:
        """A table of the first rows."""
        return self._shown


class Statement:
    """One SELECT. `missing` says which table it wants next, `wanted` which columns of one; `run` answers it."""

    def __init__(self, text: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> None:
        """Raises ParamError for what is no single SELECT, Unavailable without DuckDB."""
        self._duckdb = _library()
        self._connection = self._duckdb.connect(config={"python_enable_replacements": "false"})
        self._parameters = parameters
        try:
            text.encode()
            statements = self._connection.extract_statements(text)
        except UnicodeEncodeError:
            raise InvalidParameter("the SQL is no valid Unicode text") from None
        except self._duckdb.Error as error:
            raise InvalidParameter(f"cannot parse the SQL: {_said(error)}") from None
        if len(statements) != 1:
            raise ParamError(f"one statement is expected, got {len(statements)}")
        if statements[0].type != self._duckdb.StatementType.SELECT:
            kind = statements[0].type.name
            raise ParamError(f"only SELECT is understood, not {kind}: rows are changed by insert, upsert and delete")
        self._text: str = statements[0].query

    def missing(self) -> str | None:
        """The name of a table that it reads and does not have yet; None when it has all of them."""
        try:
            self._plan()
        except self._duckdb.CatalogException as error:
            found = _MISSING.search(str(error))
            if found is None:
                raise InvalidParameter(_said(error)) from None
            return found[1].strip('"')
        except self._duckdb.Error as error:
            raise InvalidParameter(_said(error)) from None
        return None

    def put(self, name: str, table: pa.Table) -> None:
        """Give it a table, in place of what it had under that name."""
        self._connection.register(name, table)

    def wanted(self, columns: Sequence[str]) -> list[str]:
        """Of the columns of its tables, those that it reads anywhere."""
        read: set[str] = set()
        steps = self._plan()
        while steps:
            step = steps.pop()
            steps += step.get("children", ())
            found = step.get("extra_info", {})
            if _SCAN in str(found.get("Function", "")):
                named = found.get("Projections", ())
                read |= {named} if isinstance(named, str) else set(named)
        return [name for name in columns if name in read]

    def _plan(self) -> list[dict[str, Any]]:
        told = self._connection.execute(f"EXPLAIN (FORMAT JSON) {self._text}", self._parameters).fetchall()
        plan: list[dict[str, Any]] = orjson.loads(told[0][1])
        return plan

    def run(self) -> SqlResult:
        """Raises InvalidParameter with what DuckDB says of a statement that cannot be run."""
        try:
            table = self._connection.sql(self._text, params=self._parameters).to_arrow_table()
            self._connection.register("answer", table)
            shown = str(self._connection.sql("SELECT * FROM answer"))
        except self._duckdb.Error as error:
            raise InvalidParameter(_said(error)) from None
        finally:
            self._connection.close()
        return SqlResult(table, shown)


def _library() -> Any:
    try:
        import duckdb
    except ImportError:
        raise Unavailable("SQL needs the library duckdb: pip install 'redkite[sql]'") from None
    return duckdb


def _said(error: Exception) -> str:
    return str(error).strip()
