"""What can I do from a shell? `redkite serve`, `redkite demo`, `redkite info PATH`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from redkite import __version__, config
from redkite.errors import MilvusException

_OVERVIEW: Final = """\
Redkite is a vector database that speaks Milvus's protocols.

  redkite demo                    see it search real text, offline
  redkite serve                   serve gRPC and REST on port 19530
  redkite info ./demo.db          what is in a database

In a program, with no server:

  from redkite import MilvusClient
  client = MilvusClient("./demo.db")
"""

_SERVE: Final = """\
Serves one database to every Milvus client: gRPC and REST v2 on one port.
Ready when http://127.0.0.1:9091/healthz answers 200; SIGTERM or Ctrl-C ends it cleanly.

  redkite serve
  redkite serve --data /srv/vectors --host 0.0.0.0 --port 19530
  redkite serve --config redkite.toml --explain

  from pymilvus import MilvusClient
  client = MilvusClient("http://localhost:19530")

Each option can also be set in the file or the environment (REDKITE_PORT=19531); an option
given here wins, then the environment, then the file.
"""

_DEMO: Final = """\
Indexes the documentation of Python's standard library (about 10,000 texts), prints searches by
meaning and by filter with their scores and times, opens the file again and searches once more.
Everything is offline. The first run takes some seconds, later ones reuse the database.

  redkite demo
  redkite demo --queries 'read a csv file' 'compress a file'
  redkite demo --queries 'split a path' --filter "module == 'os.path' and length > 100"

Building the database needs scikit-learn: pip install 'redkite[demo]'
"""

_INFO: Final = """\
Lists the collections of a database with their fields, rows, indexes and bytes on disk.
The database must not be open in another process.

  redkite info ./demo.db
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit status: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help()
        return 0
    try:
        status: int = parsed.run(parsed)
    except MilvusException as error:
        print(f"redkite: {error.message}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output went away, as `redkite info … | head` does. Nothing is left to say, also at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return status


# -- what may be written ------------------------------------------------------------------------
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="redkite", description=_OVERVIEW, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"redkite {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    serve = _command(commands, "serve", "serve a database to Milvus clients", _SERVE)
    serve.add_argument("--data", metavar="DIR", help="folder of the database (default: redkite-data)")
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port of gRPC and REST (default: 19530)")
    serve.add_argument("--metrics-port", type=int, metavar="PORT", help="port of /healthz (default: 9091)")
    serve.add_argument("--config", metavar="FILE", help="settings in TOML")
    serve.add_argument("--explain", action="store_true", help="print every setting with its source, and exit")
    serve.set_defaults(run=_serve)

    demo = _command(commands, "demo", "search the documentation of Python's standard library", _DEMO)
    demo.add_argument("--path", default="redkite-demo.db", help="database to use (default: %(default)s)")
    demo.add_argument("--queries", nargs="+", metavar="TEXT", help="ask these instead of the demo's own questions")
    demo.add_argument("--filter", default="", help="condition for --queries, such as \"kind == 'class'\"")
    demo.add_argument("--fresh", action="store_true", help="build the database again")
    demo.set_defaults(run=_demo)

    info = _command(commands, "info", "show what is in a database", _INFO)
    info.add_argument("path", metavar="PATH", help="folder of the database")
    info.set_defaults(run=_info)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, description: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


# -- what they do -------------------------------------------------------------------------------
def _serve(parsed: argparse.Namespace) -> int:
    configuration = config.load(
        file=parsed.config,
        arguments={
            "data": parsed.data,
            "host": parsed.host,
            "port": parsed.port,
            "metrics_port": parsed.metrics_port,
        },
    )
    if parsed.explain:
        print(configuration.explain())
        return 0
    try:
        from redkite.server.main import serve
    except ModuleNotFoundError as error:
        return _missing("server", error)
    return serve(configuration.settings)


def _demo(parsed: argparse.Namespace) -> int:
    from redkite.demo import show

    if parsed.filter and not parsed.queries:
        print("redkite demo: --filter goes with --queries", file=sys.stderr)
        return 2
    questions = [show.Question(text, parsed.filter) for text in parsed.queries or ()] or show.QUESTIONS
    try:
        show.run(parsed.path, questions, sys.stdout, fresh=parsed.fresh)
    except ModuleNotFoundError as error:
        return _missing("demo", error)
    return 0


def _info(parsed: argparse.Namespace) -> int:
    from redkite.info import show

    show(parsed.path, sys.stdout)
    return 0


def _missing(extra: str, error: ModuleNotFoundError) -> int:
    """A library that an extra brings is not installed. Anything else that is missing is a fault of ours."""
    if error.name is None or error.name.partition(".")[0] == "redkite":
        raise error
    print(f"redkite: this needs {error.name}, which is not installed: pip install 'redkite[{extra}]'", file=sys.stderr)
    return 1
