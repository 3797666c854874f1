"""Every setting with its type, default, unit, variable and option: what `docs/configuration.md` lists.

The meaning of a setting is the text below it in the code, so that it is written once.
"""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final, Literal

import msgspec

from redkite import config
from redkite.cluster import config as cluster
from redkite.model import limits, quotas, tracing

BEGIN: Final = "<!-- settings: made by `redkite config reference`; change the code, not this -->"
END: Final = "<!-- end of settings -->"
_SECTIONS: Final[tuple[tuple[str, type[msgspec.Struct], ModuleType], ...]] = (
    ("", config.Settings, config),
    (config.LIMITS, limits.Limits, limits),
    (config.QUOTAS, quotas.Quotas, quotas),
    (config.TRACE, tracing.TraceSettings, tracing),
)
_NAMED: Final = frozenset({config.LIMITS, config.QUOTAS, config.TRACE, config.CREDENTIALS, config.PROVIDERS})
"""Sections, which have tables of their own or names that are not known."""
_UNITS: Final = (
    ("_bytes", "bytes"), ("_seconds", "seconds"), ("memory_limit", "bytes"), ("_rows", "rows"), ("_mb", "megabytes"),
)  # fmt: skip
_SEE: Final = {
    "analyzer_files": "[analyzers](analyzers.md)",
    "audit_log": "[observation](observation.md)",
    "authorization": "[security](security.md)",
    "backups": "[backups](backups.md)",
    "imports": "[import and export](import.md)",
    "front": "[Envoy](#envoy)",
    "log_format": "[observation](observation.md)",
    "memory_limit": "[Memory](#memory)",
    "models": "[Models](#models)",
    "tls_cert": "[security](security.md)",
    "verify": "[Checksums](#checksums)",
    "workers": "[Workers](#workers)",
}
"""Where more is said."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key."""

    key: str
    type: str
    default: str
    unit: str
    variable: str
    option: str
    """Of `redkite serve`; empty when it has none."""
    meaning: str


def settings(options: Mapping[str, str]) -> list[Setting]:
    """All of them, in the order of the code. `options`: key -> option of the command line."""
    found: list[Setting] = []
    for section, struct, module in _SECTIONS:
        meanings = _meanings(module, struct.__name__)
        for field in msgspec.structs.fields(struct):
            if not section and field.name in _NAMED:
                continue
            key = f"{section}.{field.name}" if section else field.name
            found.append(
                Setting(
                    key=key, type=_type(field.type), default=_default(field.default), unit=_unit(key),
                    variable=config.environment_name(key), option=options.get(key, ""), meaning=meanings[field.name],
                )
            )  # fmt: skip
    return found


@cache
def _meanings(module: ModuleType, name: str) -> dict[str, str]:
    """The text below each field of a class."""
    tree = ast.parse(inspect.getsource(module))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    found: dict[str, str] = {}
    for node, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        text = following.value.value if is_text else ""  # type: ignore[union-attr]  # a constant, as just seen
        found[node.target.id] = " ".join(str(text).split())
    return found


def _type(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    names = {bool: "boolean", int: "integer", float: "number", str: "text", quotas.Rates: "rates"}
    return names.get(annotation, str(getattr(annotation, "__name__", annotation)))


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) or '""'


def _unit(key: str) -> str:
    return next((unit for ending, unit in _UNITS if key.endswith(ending)), "")


# -- as a page ----------------------------------------------------------------------------------
def reference(options: Mapping[str, str]) -> str:
    """The part of `docs/configuration.md` that is made of the code, its marks included."""
    return "\n".join([BEGIN, "", *_lines(settings(options)), END]) + "\n"


def _lines(every: list[Setting]) -> Iterator[str]:
    for title, section, before in (
        ("Settings", "", "Sizes are in bytes, or texts such as `\"512MB\"` (1 MB is 1024 × 1024 bytes)."),
        ("Limits", config.LIMITS, "Everything that could grow without end has a limit with a name. The defaults are "
                                  "Milvus's. In a file they stand in the section `[limits]`."),
        ("Quotas", config.QUOTAS, "What is accepted a second, and of what size, in the section `[quotas]` of a file; "
                                  "-1 sets no limit."),
        ("Traces", config.TRACE, "Where the spans of requests go, in the section `[trace]` of a file: see "
                                 "[observation](observation.md#traces)."),
    ):  # fmt: skip
        mine = [each for each in every if each.key.rpartition(".")[0] == section]
        yield from (f"## {title}", "", before, "")
        yield "| key | type | default | unit | variable | option | meaning |"
        yield "|---|---|---|---|---|---|---|"
        for each in mine:
            option = f"`{each.option}`" if each.option else ""
            see = f" See {_SEE[each.key]}." if each.key in _SEE else ""
            yield (
                f"| `{each.key}` | {each.type} | `{each.default}` | {each.unit} | `{each.variable}` | {option} | "
                f"{each.meaning}{see} |"
            )
        yield ""
    yield from _cluster_lines()


_CLUSTER_SECTIONS: Final[tuple[tuple[str, type[msgspec.Struct]], ...]] = (
    ("tls", cluster.TlsFiles), ("resources.ROLE", cluster.Resources),
)  # fmt: skip


def cluster_settings() -> list[Setting]:
    """Every key of a cluster's config, those of its sections as `section.key`."""
    found = []
    meanings = _meanings(cluster, "ClusterConfig")
    sections = {"tls", "resources", "settings"}
    for field in msgspec.structs.fields(cluster.ClusterConfig):
        if field.name not in sections:
            variable = "" if field.name == "log_options" else cluster.environment_name(field.name)
            found.append(_cluster_setting(field.name, field, variable, meanings[field.name]))
    for section, struct in _CLUSTER_SECTIONS:
        meanings = _meanings(cluster, struct.__name__)
        fields = msgspec.structs.fields(struct)
        found += [_cluster_setting(f"{section}.{one.name}", one, "", meanings[one.name]) for one in fields]
    return found


def _cluster_setting(key: str, field: msgspec.structs.FieldInfo, variable: str, meaning: str) -> Setting:
    plain = {"tuple": "texts", "dict": "section"}.get(getattr(typing.get_origin(field.type), "__name__", ""), "")
    if isinstance(field.default, tuple):
        default = ",".join(field.default)
    elif field.default is msgspec.NODEFAULT:
        default = "{}" if plain == "section" else "must be set"
    else:
        default = _default(field.default)
    return Setting(
        key=key, type=plain or _type(field.type), default=default, unit=_unit(key), variable=variable, option="",
        meaning=meaning,
    )  # fmt: skip


def _cluster_lines() -> Iterator[str]:
    yield from (
        "## Clusters", "",
        "What the nodes of a [cluster](cluster.md) have to agree on, in a file of its own (TOML or YAML) that "
        "`redkite cluster` reads. Everything above that a cluster knows stands in its section `[settings]`, as in "
        "`[settings.limits]`. `log_options`, `tls` and `resources.query` (or another role) are sections, too.", "",
        "| key | type | default | unit | variable | meaning |",
        "|---|---|---|---|---|---|",
    )  # fmt: skip
    for each in cluster_settings():
        variable = f"`{each.variable}`" if each.variable else ""
        yield f"| `{each.key}` | {each.type} | `{each.default}` | {each.unit} | {variable} | {each.meaning} |"
    yield ""


def renewed(page: str, options: Mapping[str, str]) -> str:
    """A page with its part between the marks made anew. Raises ValueError for a page without the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no marks for its settings")
    return before + reference(options).rstrip("\n") + after
