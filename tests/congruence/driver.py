"""One environment's record: every scenario carried out by one caller, each call's outcome a line of JSON.

    python tests/congruence/driver.py sdk http://localhost:19530        # the pymilvus of this interpreter
    python tests/congruence/driver.py redkite http://localhost:19530    # our SDK; or with a path, embedded
    python tests/congruence/driver.py rest http://localhost:19530       # REST v2

Plain on purpose: any pymilvus since 2.4 can run it, and it imports nothing that the chosen caller does not need.
"""

import argparse
import fnmatch
import json
import logging
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from callers import open_caller
from plain import plain_text
from scenarios import SCENARIOS
from session import Session, Stopped

_REAL_SLEEP = time.sleep
_LONGEST_SLEEP = 0.02
"""Clients wait half a second between two looks at an index; the servers of this suite are done sooner."""


def main() -> None:
    arguments = _parser().parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    if not arguments.patient:
        time.sleep = lambda seconds: _REAL_SLEEP(min(seconds, _LONGEST_SLEEP))
    caller = open_caller(arguments.way, arguments.uri)
    for name, scenario in SCENARIOS.items():
        wanted = fnmatch.fnmatch(name, arguments.only) and name not in arguments.leave_out.split(",")
        if wanted and caller.way in scenario.ways:
            _carry_out(name, scenario, caller)
    caller.close()


def _carry_out(name, scenario, caller) -> None:
    session = Session(name, caller, _print)
    try:
        scenario(session)
    except Stopped as stopped:
        _print({"scenario": name, "call": "(stopped)", "skipped": str(stopped)})
    except Exception as error:  # noqa: BLE001  what a scenario needs failed outside its calls
        _print(
            {
                "scenario": name,
                "call": "(stopped)",
                "skipped": f"{type(error).__name__}: {plain_text(str(error))}",
            }
        )
    finally:
        session.clean_up()


def _print(record) -> None:
    print(json.dumps(record, sort_keys=True), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", help="sdk, redkite or rest")
    parser.add_argument("uri", help="where the server is, or the path of a database")
    parser.add_argument("--only", default="*", help="a pattern for the names of scenarios")
    parser.add_argument("--leave-out", default="", help="names of scenarios, with commas between them")
    parser.add_argument("--patient", action="store_true", help="let the client wait as long as it wants to")
    return parser


if __name__ == "__main__":
    main()
