"""Run every environment that this machine has, and write what differs, and why, to docs/congruence.md.

    python -m tests.congruence.report [--check] [--scenarios PATTERN] [--only NAME]

Ends with 1 when a call ends otherwise than the reference and no explanation covers it, or when an explanation covers
nothing any more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.congruence.environments import (
    FIRST_REST,
    MESSAGES,
    MILVUS_235,
    OLDER,
    OURS,
    REFERENCE,
    ROOT,
    Environment,
    NotHere,
    record,
)
from tests.congruence.explanations import EXPLANATIONS
from tests.congruence.records import Difference, Explanation, Record, compare, read, shown, surprises

PAGE = ROOT / "docs" / "congruence.md"
_CLIP = 110

_HEAD = """\
# Congruence

The same calls through every door, compared. {calls} calls of pymilvus 3.0.2 to Redkite are the reference: they are held
to what Milvus's documentation and source say, and then carried out by older clients, by Redkite's own SDK over the wire
and embedded, by REST, and, with the same clients, by a real Milvus 2.3.5. This page lists every call that ended
otherwise, and why. `make congruence` writes it, and fails when a difference is not explained here. Scenarios are in
`tests/congruence/scenarios/`, explanations in `tests/congruence/explanations.py`.

"here" is the reference, "there" the environment of the heading. Floats are compared to five digits; ids and timestamps
that a server made up are not compared.
"""


def main() -> int:
    arguments = _parser().parse_args()
    records: dict[str, Record] = {}
    missing: list[str] = []
    wanted = [REFERENCE, MESSAGES, FIRST_REST, *OURS, *OLDER, *MILVUS_235]
    for environment in wanted:
        needed = arguments.only in ("", environment.name) or environment.name in _references(wanted, arguments.only)
        if not needed:
            continue
        try:
            records[environment.name] = _kept(environment, arguments.scenarios, arguments.records)
            print(f"{environment.name}: {len(records[environment.name])} calls", flush=True)
        except NotHere as error:
            missing.append(environment.name)
            print(f"{environment.name}: left out: {error}", flush=True)
    differences = compared(wanted, records)
    bad = surprises(records[REFERENCE.name]) if REFERENCE.name in records else []
    bad += [f"not explained: {one.where}: {one.scenario} / {one.call}: {shown(one.here)} -> {shown(one.there)}"
            for one in unexplained(differences)]  # fmt: skip
    whole = not arguments.only and arguments.scenarios == "*"
    if whole:
        bad += [f"explains nothing: {one}" for one in stale(differences, missing)]
    print("\n".join(bad))
    if whole and not missing and not arguments.check:
        PAGE.write_text(page(wanted, records, differences))
        print(f"{PAGE.relative_to(ROOT)} is written")
    print(f"{len(differences)} differences, {len(bad)} of them to look at")
    return 1 if bad else 0


def _kept(environment: Environment, scenarios: str, folder: Path | None) -> Record:
    """The record of an environment, out of the folder where it is there."""
    if folder is None:
        return record(environment, scenarios)
    place = folder / f"{environment.name}.jsonl"
    if place.exists():
        return read(place.read_text().splitlines())
    made = record(environment, scenarios)
    folder.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(json.dumps(one) + "\n" for one in made.values()))
    return made


def _references(environments: Iterable[Environment], name: str) -> set[str]:
    """The environments that the one of this name is compared to."""
    found = {one.reference for one in environments if one.name == name}
    return found | {REFERENCE.name} if found else found


def compared(environments: Iterable[Environment], records: dict[str, Record]) -> list[Difference]:
    """The differences of all environments that have a record, each from its reference."""
    found: list[Difference] = []
    for environment in environments:
        if environment in (REFERENCE, MESSAGES, FIRST_REST) or environment.name not in records:
            continue
        here, there = records.get(environment.reference), records[environment.name]
        if here is not None:
            found += compare(environment.name, here, there, environment.unshown)
    return found


def explanation(difference: Difference) -> Explanation | None:
    return next((one for one in EXPLANATIONS if one.covers(difference)), None)


def unexplained(differences: Iterable[Difference]) -> list[Difference]:
    return [one for one in differences if explanation(one) is None]


def stale(differences: Sequence[Difference], missing: Sequence[str]) -> list[Explanation]:
    """Explanations of nothing, where every environment that they speak of was there."""
    used = {explanation(one) for one in differences}
    return [one for one in EXPLANATIONS if one not in used and not missing]


# -- the page -----------------------------------------------------------------------------------
def page(environments: Iterable[Environment], records: dict[str, Record], differences: Sequence[Difference]) -> str:
    lines = [_HEAD.format(calls=len(records[REFERENCE.name])), "", "| environment | calls | differ |", "|---|---|---|"]
    for environment in environments:
        count = sum(1 for one in differences if one.where == environment.name)
        lines.append(f"| {environment.name} | {len(records[environment.name])} | {count} |")
    for environment in environments:
        found = [one for one in differences if one.where == environment.name]
        if found:
            lines += ["", f"## {environment.name}", *_section(found)]
    return "\n".join(lines) + "\n"


def _section(differences: Sequence[Difference]) -> list[str]:
    lines: list[str] = []
    reasons: dict[str, list[Difference]] = {}
    for one in differences:
        found = explanation(one)
        reasons.setdefault(found.why if found else "Not explained.", []).append(one)
    for why, ones in reasons.items():
        lines += ["", f"**{why}**", "", "| call | here | there |", "|---|---|---|"]
        lines += [f"| {_cell(f'{one.scenario} / {one.call}')} | {_cell(shown(one.here))} | {_cell(shown(one.there))} |"
                  for one in ones]  # fmt: skip
    return lines


def _cell(text: str) -> str:
    clipped = text if len(text) <= _CLIP else text[: _CLIP - 1] + "…"
    return "`" + clipped.replace("|", "¦").replace("`", "'").replace("\n", " ") + "`"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--scenarios", default="*", help="a pattern for the names of scenarios")
    parser.add_argument("--records", type=Path, help="a folder to keep records in: those that are there are not made")
    parser.add_argument("--only", default="", help="one environment, and what it is compared to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
