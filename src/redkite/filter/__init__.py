"""What does an expression mean? Filters: text, tree, bound predicate, mask."""

from redkite.filter.columns import ArrowColumns, Columns
from redkite.filter.compiler import Filter, compile_filter
from redkite.filter.diagnostics import parse_error
from redkite.filter.json_column import JsonColumn, shred
from redkite.filter.shape_column import ShapeColumn

__all__ = ["ArrowColumns", "Columns", "Filter", "JsonColumn", "ShapeColumn", "compile_filter", "parse_error", "shred"]
