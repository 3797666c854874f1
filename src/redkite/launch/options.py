"""`redkite cluster …`: what may be written. What it does is in `commands.py`, which is loaded when it is done."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

_ROLES = ("coordinator", "streaming", "query", "data", "proxy")
Command = Callable[[Any, str], argparse.ArgumentParser]
"""Makes the parser of a command below a group, as its page in the manual has it."""


def add_commands(
    commands: Any, command: Command, explain: Callable[[Any], Callable[[argparse.Namespace], int]]
) -> None:
    """The group and its commands. `explain` makes what a group alone does."""
    group = command(commands, "cluster")
    group.set_defaults(run=explain(group))
    actions = group.add_subparsers(dest="action", metavar="ACTION", title="actions")
    _up(command(actions, "cluster up"))
    _status(command(actions, "cluster status"))

    scale = _shared(command(actions, "cluster scale"), ray=True)
    scale.add_argument("counts", nargs="+", metavar="ROLE=NUMBER", help="as query=4 data=2")
    scale.set_defaults(run=_does("scale"))

    drain = _shared(command(actions, "cluster drain"))
    drain.add_argument("node", metavar="NODE", help="its number or address, as status shows them")
    drain.add_argument("--seconds", type=float, default=300.0, help="wait so long at most (default: %(default)s)")
    drain.set_defaults(run=_does("drain"))

    restart = _shared(command(actions, "cluster restart"), ray=True)
    restart.add_argument(
        "--rolling", action="store_true", help="one node after another, a new one before the old one leaves"
    )
    restart.add_argument("--role", action="append", default=[], choices=_ROLES, help="only these nodes; repeatable")
    restart.set_defaults(run=_does("restart"))

    down = _shared(command(actions, "cluster down"), ray=True)
    down.add_argument("--delete-data", action="store_true", help="also delete the state folder and what is in it")
    down.set_defaults(run=_does("down"))

    _node(command(actions, "cluster node"))

    supervise = command(actions, "cluster supervise")
    supervise.add_argument("--state", metavar="DIR", required=True, help="the folder to look after")
    supervise.set_defaults(run=_does("supervise"))

    config = command(actions, "cluster config")
    config.add_argument("--config", metavar="FILE", default="", help="the cluster's config, TOML or YAML")
    config.add_argument("--check", action="store_true", help="name every mistake in the file instead")
    config.add_argument("--reach", action="store_true", help="also ask etcd, the log and the store of objects")
    config.set_defaults(run=_does("show_config"))


def _up(up: argparse.ArgumentParser) -> None:
    _shared(up, ray=True)
    up.add_argument("--local", action="store_true", help="all on this machine, also parts that the config leaves out")
    up.add_argument("--log", choices=("kafka", "pulsar"), default="", help="with --local: which broker to start")
    up.add_argument("--objects", choices=("folder", "s3"), default="",
                    help="with --local: where objects are kept (default: where they are; at first folder)")  # fmt: skip
    up.add_argument("--port", type=int, help="port of gRPC and REST (default: 19530)")
    up.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
                    help="a key of the config; repeatable")  # fmt: skip
    up.add_argument("--runtime", choices=("processes", "ray"), default="",
                    help="what runs the nodes (default: processes with --local, else ray)")  # fmt: skip
    up.add_argument("--foreground", action="store_true", help="stay, and end the cluster when this is ended")
    up.set_defaults(run=_does("up"))


def _status(status: argparse.ArgumentParser) -> None:
    _shared(status)
    status.add_argument("--json", action="store_true", help="as one JSON object")
    status.add_argument("--channels", action="store_true", help="also who owns which channel")
    status.set_defaults(run=_does("status"))


def _node(node: argparse.ArgumentParser) -> None:
    node.add_argument("--role", required=True, choices=_ROLES, help="what it does")
    node.add_argument("--config", metavar="FILE", default="", help="the cluster's config, TOML or YAML")
    node.add_argument("--address", metavar="HOST:PORT", default="",
                      help="where other nodes ask it (default: the config's host, and a free port)")  # fmt: skip
    node.add_argument("--report", metavar="FILE", default="", help="gets what the node says of itself when it is ready")
    node.set_defaults(run=_does("node"))


def _shared(one: argparse.ArgumentParser, *, ray: bool = False) -> argparse.ArgumentParser:
    one.add_argument("--config", metavar="FILE", default="",
                     help="the cluster's config, TOML or YAML (default: that of the state folder)")  # fmt: skip
    one.add_argument("--state", metavar="DIR", default="",
                     help="folder for what this machine notes of the cluster (default: redkite-cluster)")  # fmt: skip
    if ray:
        one.add_argument("--ray-address", metavar="ADDRESS", default="",
                         help="a Ray cluster that runs, as auto or host:6379")  # fmt: skip
    return one


def _does(name: str) -> Callable[[argparse.Namespace], int]:
    def run(parsed: argparse.Namespace) -> int:
        from redkite.launch import commands

        done: int = getattr(commands, name)(parsed)
        return done

    return run
