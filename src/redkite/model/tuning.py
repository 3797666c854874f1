"""How exact a search is to be, and whether it tells how it was answered: `exact`, `recall`, `explain`, `analyze`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from redkite.errors import InvalidParameter

Explain = Literal["", "plan", "analyze"]
"""Nothing; how a read would be answered, with no rows compared; or how it was, measured, beside its answer."""
TUNING_KEYS = ("exact", "recall", "explain", "analyze")


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Of one search."""

    exact: bool = False
    """Compare every allowed row, whatever the index."""
    recall: float = 0.0
    """Choose the index's effort so that this part of the true neighbours is found, as measured; 0: by parameters."""
    explain: Explain = ""


def read_tuning(given: Mapping[str, Any]) -> Tuning | None:
    """From values or texts by `TUNING_KEYS`; None when nothing is asked for. Raises InvalidParameter."""
    if given.keys().isdisjoint(TUNING_KEYS):
        return None
    recall = given.get("recall")
    tuning = Tuning(
        exact=_flag("exact", given.get("exact")),
        recall=0.0 if recall is None else _share("recall", recall),
        explain=read_explain(given),
    )
    if tuning.exact and tuning.recall:
        raise InvalidParameter("exact and recall cannot be given together: an exact search finds all neighbours")
    return None if tuning == Tuning() else tuning


def read_explain(given: Mapping[str, Any]) -> Explain:
    """What `explain` and `analyze` ask for together."""
    plan = _flag("explain", given.get("explain"))
    return "analyze" if _flag("analyze", given.get("analyze")) else "plan" if plan else ""


def write_tuning(tuning: Tuning | None) -> dict[str, str]:
    """As texts that `read_tuning` reads."""
    if tuning is None:
        return {}
    pairs = {"exact": "True"} if tuning.exact else {}
    if tuning.recall:
        pairs["recall"] = repr(tuning.recall)
    return pairs | write_explain(tuning.explain)


def write_explain(explain: Explain) -> dict[str, str]:
    """As texts that `read_explain` reads."""
    return {"analyze" if explain == "analyze" else "explain": "True"} if explain else {}


def _flag(key: str, value: Any) -> bool:
    text = str(value).lower()
    if text in ("true", "1"):
        return True
    if text in ("none", "", "false", "0"):
        return False
    raise InvalidParameter(f"{key} [{str(value)[:100]}] is invalid, should be true or false")


def _share(key: str, value: Any) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = -1.0
    if isinstance(value, bool) or not 0 < share <= 1:
        raise InvalidParameter(f"{key} [{str(value)[:100]}] is invalid, should be more than 0 and at most 1")
    return share
