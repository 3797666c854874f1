"""What can I do from a shell? `redkite serve`, `demo`, `info`, `verify`, `doctor`, `backup`, `mcp`, `sql`."""

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
  redkite verify ./demo.db        read it all, compare every checksum
  redkite doctor ./demo.db        what is wrong with it, and what can be done
  redkite backup create ./demo.db /mnt/backups
  redkite sql ./demo.db 'SELECT kind, count(*) FROM texts GROUP BY kind'
  redkite mcp --uri ./demo.db     let language models search it

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

_MCP: Final = """\
Lets agents (language models that speak the Model Context Protocol) search a database, and change
it unless --read-only is given. Over standard input and output, as most of them want it, or --http.

  redkite mcp --uri ./demo.db --read-only
  redkite mcp --uri http://localhost:19530 --token root:Milvus --http --port 8000

An agent's configuration names the command: {"command": "redkite", "args": ["mcp", "--uri", "./demo.db"]}
Without options, MILVUS_URI, MILVUS_TOKEN and MILVUS_DB of the environment count.
It needs the library mcp: pip install 'redkite[mcp]'
"""

_SQL: Final = """\
Answers SQL over the collections of a database file or of a server: SELECT with joins, groups,
windows; vectors are arrays (array_distance, array_cosine_similarity). Without a statement it asks
for them, each ended by a semicolon; they may also be piped in.

  redkite sql ./demo.db 'SELECT kind, count(*) FROM texts GROUP BY kind'
  redkite sql http://localhost:19530 --token root:Milvus --format csv 'SELECT * FROM birds' > birds.csv

It needs the library duckdb: pip install 'redkite[sql]'
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

_VERIFY: Final = """\
Reads every byte of a database, compares it with its checksums and its parts with each other.
Nothing is changed. The database must not be open in another process.

  redkite verify ./demo.db && echo sound

The exit status is 0 when all is sound, 3 when something is damaged, 1 when it could not be checked.
"""

_DOCTOR: Final = """\
Says what is wrong with a database in plain words, and what would mend it.

  redkite doctor ./demo.db                          look only
  redkite doctor ./demo.db --repair                 do what loses nothing
  redkite doctor ./demo.db --repair --backup DIR    take damaged objects from copies found in DIR
  redkite doctor ./demo.db --repair --accept-loss   also give up what nothing else can mend

What is given up stays in the folder `quarantine` of the database. The exit status is that of
`redkite verify` afterwards.
"""

_BACKUP: Final = """\
Copies of databases: consistent, checked, and small when little has changed.

  redkite backup create ./demo.db /mnt/backups          a database that is not open elsewhere
  redkite backup create http://localhost:19530 nightly  a running server; writers go on
  redkite backup list /mnt/backups
  redkite backup verify /mnt/backups                    read it all, compare every checksum
  redkite backup restore /mnt/backups ./other.db        into another database …
  redkite backup restore /mnt/backups ./demo.db --suffix _old
                                                        … or beside what is there
  redkite backup delete /mnt/backups backup-20260101T000000-000

A destination is a folder or a place for objects, such as
s3://bucket/prefix?endpoint=http://localhost:9000; credentials come from the environment
(AWS_ACCESS_KEY_ID …), and pip install 'redkite[s3]' brings what is needed. The destinations of a
server are those it sees, below its setting `backups`.
"""

_PLACE: Final = "folder or URL"
_SERVED: Final = "ask this running server instead of looking from here"

_BACKUP_CREATE: Final = """\
Copies every collection, or those named, as it is at one moment. Objects that an earlier backup
brought to the same destination are not copied again. A backup that is cut off does not count:
make it again, and it uses what was copied.

  redkite backup create ./demo.db /mnt/backups
  redkite backup create ./demo.db /mnt/backups --name monday --collection docs --collection shop.books
  redkite backup create http://localhost:19530 nightly
"""

_BACKUP_LIST: Final = """\
Lists the whole backups at a destination, the oldest first, with their collections.

  redkite backup list /mnt/backups
  redkite backup list nightly --uri http://localhost:19530
"""

_BACKUP_VERIFY: Final = """\
Reads every object of a backup and compares it with its checksum. Damaged ones are named, and the
exit status is 1.

  redkite backup verify /mnt/backups            the newest
  redkite backup verify /mnt/backups monday
"""

_BACKUP_RESTORE: Final = """\
Makes new collections out of a backup, with their indexes; load them before searching. Either all
are made or, when an object is damaged or a name is taken, none.

  redkite backup restore /mnt/backups ./other.db                     the newest backup
  redkite backup restore /mnt/backups ./demo.db --name monday --suffix _monday
  redkite backup restore /mnt/backups ./demo.db --collection docs --rename docs=old_docs
  redkite backup restore nightly http://localhost:19530 --into attic
"""

_BACKUP_DELETE: Final = """\
Deletes a backup, and the objects that no other backup at the destination needs.

  redkite backup delete /mnt/backups monday
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
    serve.add_argument("--front", choices=("own", "envoy"), help="what accepts connections (default: own)")
    serve.add_argument("--workers", type=int, metavar="N", help="processes that serve, for large machines (default: 1)")
    serve.add_argument("--memory-limit", metavar="SIZE", help="private memory at most, such as 1GB (default: no limit)")
    serve.add_argument("--config", metavar="FILE", help="settings in TOML")
    serve.add_argument("--explain", action="store_true", help="print every setting with its source, and exit")
    serve.set_defaults(run=_serve)

    mcp = _command(commands, "mcp", "let agents search a database", _MCP)
    mcp.add_argument("--uri", help="a server, or a database file (default: http://localhost:19530)")
    mcp.add_argument("--token", help="user:password, or an API key")
    mcp.add_argument("--database", metavar="NAME", help="the database to begin with")
    mcp.add_argument("--read-only", action="store_true", help="offer no tool that changes anything")
    mcp.add_argument("--http", action="store_true", help="serve streamable HTTP at /mcp instead of stdin and stdout")
    mcp.add_argument("--host", default="127.0.0.1", help="with --http: address to listen on (default: %(default)s)")
    mcp.add_argument("--port", type=int, default=8000, help="with --http: port (default: %(default)s)")
    mcp.add_argument("--stateless", action="store_true", help="with --http: keep nothing between requests")
    mcp.set_defaults(run=_mcp)

    sql = _command(commands, "sql", "ask a database in SQL", _SQL)
    sql.add_argument("uri", metavar="DATABASE", help="a database file, or the address of a server")
    sql.add_argument("statement", nargs="?", default="", metavar="STATEMENT", help="one SELECT")
    sql.add_argument("--token", default="", help="user:password, or an API key")
    sql.add_argument("--database", default="", metavar="NAME", help="whose collections are the tables")
    sql.add_argument("--format", choices=("table", "csv", "json"), default="table", help="(default: %(default)s)")
    sql.set_defaults(run=_sql)

    demo = _command(commands, "demo", "search the documentation of Python's standard library", _DEMO)
    demo.add_argument("--path", default="redkite-demo.db", help="database to use (default: %(default)s)")
    demo.add_argument("--queries", nargs="+", metavar="TEXT", help="ask these instead of the demo's own questions")
    demo.add_argument("--filter", default="", help="condition for --queries, such as \"kind == 'class'\"")
    demo.add_argument("--fresh", action="store_true", help="build the database again")
    demo.set_defaults(run=_demo)

    info = _command(commands, "info", "show what is in a database", _INFO)
    info.add_argument("path", metavar="PATH", help="folder of the database")
    info.set_defaults(run=_info)

    verify = _command(commands, "verify", "read a whole database and compare every checksum", _VERIFY)
    verify.add_argument("path", metavar="PATH", help="folder of the database")
    verify.set_defaults(run=_verify)

    doctor = _command(commands, "doctor", "say what is wrong with a database, and mend it", _DOCTOR)
    doctor.add_argument("path", metavar="PATH", help="folder of the database")
    doctor.add_argument("--repair", action="store_true", help="do what loses nothing")
    doctor.add_argument("--accept-loss", action="store_true", help="with --repair: also give up damaged data")
    doctor.add_argument("--backup", metavar="DIR", default="", help="folder in which whole copies are looked for")
    doctor.set_defaults(run=_doctor)
    _backup_commands(commands)
    return parser


def _backup_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = _command(commands, "backup", "make, check and restore copies of databases", _BACKUP)

    def explain(_: argparse.Namespace) -> int:
        group.print_help()
        return 0

    group.set_defaults(run=explain)
    actions = group.add_subparsers(dest="action", metavar="ACTION")
    database = "folder of the database, or the address of a running server"

    create = _command(actions, "create", "copy a database as it is now", _BACKUP_CREATE)
    create.add_argument("source", metavar="DATABASE", help=database)
    create.add_argument("destination", metavar="DESTINATION", help=_PLACE)
    create.add_argument("--name", default="", help="of the backup (default: made of the time)")
    create.add_argument("--collection", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    create.add_argument("--database", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    create.set_defaults(run=_backup_create)

    listing = _command(actions, "list", "show the backups at a destination", _BACKUP_LIST)
    listing.add_argument("destination", metavar="DESTINATION", help=_PLACE)
    listing.add_argument("--uri", default="", help=_SERVED)
    listing.set_defaults(run=_backup_list)

    verify = _command(actions, "verify", "read a whole backup and compare every checksum", _BACKUP_VERIFY)
    verify.add_argument("destination", metavar="DESTINATION", help=_PLACE)
    verify.add_argument("name", nargs="?", default="", metavar="NAME", help="of the backup (default: the newest)")
    verify.add_argument("--uri", default="", help=_SERVED)
    verify.set_defaults(run=_backup_verify)

    restore = _command(actions, "restore", "make collections out of a backup", _BACKUP_RESTORE)
    restore.add_argument("destination", metavar="DESTINATION", help=_PLACE)
    restore.add_argument("target", metavar="DATABASE", help=database)
    restore.add_argument("--name", default="", help="of the backup (default: the newest)")
    restore.add_argument("--collection", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    restore.add_argument("--rename", action="append", default=[], metavar="OLD=NEW", help="call it NEW; repeatable")
    restore.add_argument("--suffix", default="", help="put this behind every name")
    restore.add_argument("--into", default="", metavar="DATABASE", help="name of the database they go to")
    restore.set_defaults(run=_backup_restore)

    delete = _command(actions, "delete", "delete a backup", _BACKUP_DELETE)
    delete.add_argument("destination", metavar="DESTINATION", help=_PLACE)
    delete.add_argument("name", metavar="NAME", help="of the backup")
    delete.add_argument("--uri", default="", help=_SERVED)
    delete.set_defaults(run=_backup_delete)


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
            "front": parsed.front,
            "workers": parsed.workers,
            "memory_limit": parsed.memory_limit,
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


def _mcp(parsed: argparse.Namespace) -> int:
    try:
        from redkite.mcp.main import serve
    except ModuleNotFoundError as error:
        return _missing("client", error)
    serve(
        parsed.uri or os.environ.get("MILVUS_URI") or "http://localhost:19530",
        parsed.token or os.environ.get("MILVUS_TOKEN", ""),
        parsed.database or os.environ.get("MILVUS_DB", ""),
        read_only=parsed.read_only,
        transport="http" if parsed.http else "stdio",
        host=parsed.host,
        port=parsed.port,
        stateless=parsed.stateless,
    )
    return 0


def _sql(parsed: argparse.Namespace) -> int:
    from redkite.ops.sql import run

    return run(parsed.uri, parsed.token, parsed.database, parsed.statement, parsed.format, sys.stdout)


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


def _verify(parsed: argparse.Namespace) -> int:
    from redkite.ops.show import run_verify

    return run_verify(parsed.path, sys.stdout, sys.stderr)


def _doctor(parsed: argparse.Namespace) -> int:
    if parsed.accept_loss and not parsed.repair:
        print("redkite doctor: --accept-loss goes with --repair", file=sys.stderr)
        return 2
    from redkite.ops.show import run_doctor

    return run_doctor(
        parsed.path,
        sys.stdout,
        sys.stderr,
        repair=parsed.repair,
        accept_loss=parsed.accept_loss,
        backup=parsed.backup,
    )


def _backup_create(parsed: argparse.Namespace) -> int:
    from redkite.ops.backup import run_create

    place = parsed.destination
    return run_create(parsed.source, place, parsed.name, parsed.collection, parsed.database, sys.stdout, sys.stderr)


def _backup_list(parsed: argparse.Namespace) -> int:
    from redkite.ops.backup import run_list

    return run_list(parsed.destination, parsed.uri, sys.stdout)


def _backup_verify(parsed: argparse.Namespace) -> int:
    from redkite.ops.backup import run_verify

    return run_verify(parsed.destination, parsed.uri, parsed.name, sys.stdout, sys.stderr)


def _backup_restore(parsed: argparse.Namespace) -> int:
    renames = dict(pair.partition("=")[::2] for pair in parsed.rename)
    if not all(old and new for old, new in renames.items()):
        print("redkite backup restore: --rename takes OLD=NEW", file=sys.stderr)
        return 2
    from redkite.ops.backup import run_restore

    return run_restore(
        parsed.destination,
        parsed.target,
        parsed.name,
        parsed.collection,
        renames,
        parsed.suffix,
        parsed.into,
        sys.stdout,
        sys.stderr,
    )


def _backup_delete(parsed: argparse.Namespace) -> int:
    from redkite.ops.backup import run_delete

    return run_delete(parsed.destination, parsed.uri, parsed.name, sys.stdout)


def _missing(extra: str, error: ModuleNotFoundError) -> int:
    """A library that an extra brings is not installed. Anything else that is missing is a fault of ours."""
    if error.name is None or error.name.partition(".")[0] == "redkite":
        raise error
    print(f"redkite: this needs {error.name}, which is not installed: pip install 'redkite[{extra}]'", file=sys.stderr)
    return 1
