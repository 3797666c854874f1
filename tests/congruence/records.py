"""Records of environments, and where two of them differ."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Key = tuple[str, str]
"""A scenario and one of its calls."""
Record = Mapping[Key, Mapping[str, Any]]

_ABSENT = {"absent": True}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why calls end otherwise in some environments. Patterns are those of `fnmatch`; `there` is a regular expression
    that what came of the call there has to contain, `here` one for what came of it in the reference."""

    where: str
    scenario: str
    call: str
    why: str
    there: str = ""
    here: str = ""

    def covers(self, difference: Difference) -> bool:
        return (
            _matches(difference.where, self.where)
            and _matches(difference.scenario, self.scenario)
            and _matches(difference.call, self.call)
            and re.search(self.there, shown(difference.there), re.DOTALL) is not None
            and re.search(self.here, shown(difference.here), re.DOTALL) is not None
        )


def _matches(name: str, patterns: str) -> bool:
    """Whether one of the patterns, with `|` between them, fits; brackets in them mean themselves."""
    return any(fnmatch.fnmatchcase(name, one.strip().replace("[", "[[]")) for one in patterns.split("|"))


@dataclass(frozen=True, slots=True)
class Difference:
    """One call that ended otherwise: `here` in the reference, `there` in the environment `where`."""

    where: str
    scenario: str
    call: str
    here: Any
    there: Any


def read(lines: Iterable[str]) -> Record:
    """The record that a driver has printed. Raises ValueError for a call that is there twice."""
    found: dict[Key, Mapping[str, Any]] = {}
    for line in lines:
        record = json.loads(line)
        key = (record["scenario"], record["call"])
        if key in found:
            raise ValueError(f"{key} is there twice")
        found[key] = record
    return found


def surprises(record: Record) -> list[str]:
    """Calls that did not end as their scenario says. Only the reference is held to that."""
    told = []
    for (scenario, call), found in record.items():
        name = f"{scenario} / {call}"
        if "skipped" in found:
            told.append(f"{name}: {found['skipped']}")
        if "expected_error" in found:
            code, text = found["expected_error"]
            error = found.get("error", {})
            if error.get("code") != code or text not in error.get("text", ""):
                told.append(f"{name}: should fail with {code} {text!r}, but {shown(outcome(found))}")
        if "expected" in found and found.get("answer", _ABSENT) != found["expected"]:
            told.append(f"{name}: should be {found['expected']}, but {shown(outcome(found))}")
    return told


def outcome(found: Mapping[str, Any] | None) -> Any:
    """What came of a call: its answer, or a dict that says why there is none."""
    if found is None:
        return _ABSENT
    for kind in ("error", "not_offered", "skipped"):
        if kind in found:
            return {kind: found[kind]}
    return found.get("answer")


def compare(where: str, here: Record, there: Record, unshown: frozenset[str] = frozenset()) -> list[Difference]:
    """All calls of `here` that ended otherwise in `there`. Scenarios that are not carried out there at all do not
    count; of one that could not go on, the stop is the one difference. `unshown`: keys that answers there lack."""
    carried_out = {scenario for scenario, _ in there}
    stopped = {scenario for (scenario, call) in there if call == "(stopped)"}
    found = [
        Difference(where, scenario, call, None, outcome(there[scenario, call]))
        for (scenario, call) in there
        if call == "(stopped)" and (scenario, call) not in here
    ]
    for (scenario, call), record in here.items():
        if (scenario, call) not in there and (scenario in stopped or scenario not in carried_out):
            continue
        ours, theirs = outcome(record), outcome(there.get((scenario, call)))
        if not _same(_without(ours, unshown), _without(theirs, unshown)):
            found.append(Difference(where, scenario, call, ours, theirs))
    return found


def _without(value: Any, keys: frozenset[str]) -> Any:
    """`value` without what some keys of its dicts hold."""
    if not keys:
        return value
    if isinstance(value, dict):
        return {key: _without(item, keys) for key, item in value.items() if key not in keys}
    return [_without(item, keys) for item in value] if isinstance(value, list) else value


def _same(one: Any, other: Any) -> bool:
    """Errors are the same with equal code and text; their classes count where both have some."""
    if _is_error(one) and _is_error(other):
        first, second = one["error"], other["error"]
        keys = {"code", "text"} | ({"class"} if "class" in first and "class" in second else set())
        return all(first.get(key) == second.get(key) for key in keys)
    return bool(one == other)


def _is_error(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("error"), dict)


def shown(value: Any) -> str:
    """An outcome in one line."""
    if isinstance(value, dict):
        if _is_error(value):
            error = value["error"]
            return f"{error.get('class', 'error')} {error.get('code')}: {error.get('text')}"
        if "not_offered" in value:
            return f"not offered: {value['not_offered']}"
        if "skipped" in value:
            return f"stopped: {value['skipped']}"
        if value == _ABSENT:
            return "not called"
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
