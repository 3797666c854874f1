"""What can I do from a shell? The commands, their options, and what each of them calls. `manual/pages.py` has the texts
of their help."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn

from redkite import __version__, config
from redkite.errors import MilvusException
from redkite.launch.options import add_commands as add_cluster_commands
from redkite.manual.pages import PAGES
from redkite.manual.render import Commands, epilog

_PLACE: Final = "folder or URL"
_SERVED: Final = "ask this running server instead of looking from here"


_Formatter: Final = argparse.RawDescriptionHelpFormatter


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit status: 0, 1 after an error, 2 for wrong usage, 130 after Ctrl-C."""
    whole = parser()
    parsed, unknown = whole.parse_known_args(arguments)
    if unknown:
        asked: Parser = parsed.parser
        asked.refuse(unknown)
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
_INVALID: Final = re.compile(r"invalid choice: '([^']*)'")


class Parser(argparse.ArgumentParser):
    """One that says what was likely meant."""

    _mixes = False

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._positionals.title = "arguments"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]  # one signature for argparse's two
        """Also `redkite sql URI --format csv STATEMENT`: arguments that may be left out are found behind options."""
        if self._mixes or any(isinstance(action, argparse._SubParsersAction) for action in self._actions):
            return super().parse_known_args(args, namespace)
        self._mixes = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixes = False

    def error(self, message: str) -> NoReturn:
        found = _INVALID.search(message)
        if found is not None:
            choices = [str(choice) for action in self._actions for choice in action.choices or ()]
            message += _nearest(found[1], choices)
        super().error(message)

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Arguments that it does not have."""
        odd = next((word for word in unknown if word.startswith("-")), unknown[0])
        hint = _nearest(odd.partition("=")[0], self._option_string_actions) if odd.startswith("-") else ""
        super().error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _nearest(word: str, known: Iterable[str]) -> str:
    bare = {one.lstrip("-"): one for one in known}  # dashes make nothing alike
    close = difflib.get_close_matches(word.lstrip("-"), bare, n=1)
    return f"; did you mean {bare[close[0]]}?" if close else ""


def commands() -> Commands:
    """Every command by its name (`backup create`), and the whole by the empty one."""
    found: Commands = {}

    def visit(name: str, one: argparse.ArgumentParser) -> None:
        found[name] = one
        for action in one._actions:
            if isinstance(action, argparse._SubParsersAction):
                for word, below in action.choices.items():
                    visit(f"{name} {word}".strip(), below)

    visit("", parser())
    return found


def parser() -> Parser:
    """The parser of the command line."""
    whole = Parser(prog="redkite", description=PAGES[""].text, epilog=epilog(""), formatter_class=_Formatter)
    whole.add_argument("--version", action="version", version=f"redkite {__version__}")
    whole.set_defaults(parser=whole, run=_helper(whole))
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    _serve_command(commands)
    add_cluster_commands(commands, _command, _helper)

    mcp = _command(commands, "mcp")
    mcp.add_argument("--uri", help="a server, or a database file (default: http://localhost:19530)")
    mcp.add_argument("--token", help="user:password, or an API key")
    mcp.add_argument("--database", metavar="NAME", help="the database to begin with")
    mcp.add_argument("--read-only", action="store_true", help="offer no tool that changes anything")
    mcp.add_argument("--http", action="store_true", help="serve streamable HTTP at /mcp instead of stdin and stdout")
    mcp.add_argument("--host", default="127.0.0.1", help="with --http: address to listen on (default: %(default)s)")
    mcp.add_argument("--port", type=int, default=8000, help="with --http: port (default: %(default)s)")
    mcp.add_argument("--stateless", action="store_true", help="with --http: keep nothing between requests")
    mcp.set_defaults(run=_mcp)

    sql = _command(commands, "sql")
    sql.add_argument("uri", metavar="DATABASE", help="a database file, or the address of a server")
    sql.add_argument("statement", nargs="?", default="", metavar="STATEMENT", help="one SELECT")
    sql.add_argument("--token", default="", help="user:password, or an API key")
    sql.add_argument("--database", default="", metavar="NAME", help="whose collections are the tables")
    sql.add_argument("--format", choices=("table", "csv", "json"), default="table", help="(default: %(default)s)")
    sql.set_defaults(run=_sql)

    demo = _command(commands, "demo")
    demo.add_argument("--path", default="redkite-demo.db", help="database to use (default: %(default)s)")
    demo.add_argument("--queries", nargs="+", metavar="TEXT", help="ask these instead of the demo's own questions")
    demo.add_argument("--filter", default="", help="condition for --queries, such as \"kind == 'class'\"")
    demo.add_argument("--fresh", action="store_true", help="build the database again")
    demo.set_defaults(run=_demo)

    _inspection_commands(commands)
    _backup_commands(commands)
    _migrate_command(commands)
    _promote_command(commands)
    _config_commands(commands)

    openapi = _command(commands, "openapi")
    openapi.add_argument("--output", metavar="FILE", default="", help="write it there (default: standard output)")
    openapi.set_defaults(run=_openapi)

    man = _command(commands, "man")
    man.add_argument("--markdown", action="store_true", help="as a page of the documentation instead")
    man.add_argument("--output", metavar="FILE", default="", help="write it there (default: standard output)")
    man.set_defaults(run=_man)
    return whole


_Commands = argparse._SubParsersAction


def _serve_command(commands: _Commands[Parser]) -> None:
    serve = _command(commands, "serve")
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


def _inspection_commands(commands: _Commands[Parser]) -> None:
    info = _command(commands, "info")
    info.add_argument("path", metavar="PATH", help="folder of the database")
    info.set_defaults(run=_info)

    verify = _command(commands, "verify")
    verify.add_argument("path", metavar="PATH", help="folder of the database")
    verify.set_defaults(run=_verify)

    doctor = _command(commands, "doctor")
    doctor.add_argument("path", metavar="PATH", help="folder of the database")
    doctor.add_argument("--repair", action="store_true", help="do what loses nothing")
    doctor.add_argument("--accept-loss", action="store_true", help="with --repair: also give up damaged data")
    doctor.add_argument("--backup", metavar="DIR", default="", help="folder in which whole copies are looked for")
    doctor.set_defaults(run=_doctor)


def _backup_commands(commands: _Commands[Parser]) -> None:
    group = _command(commands, "backup")
    group.set_defaults(run=_helper(group))
    actions = group.add_subparsers(dest="action", metavar="ACTION", title="actions")
    database = "folder of the database, or the address of a running server"

    create = _command(actions, "backup create")
    create.add_argument("source", metavar="DATABASE", help=database)
    create.add_argument("destination", metavar="DESTINATION", help=_PLACE)
    create.add_argument("--name", default="", help="of the backup (default: made of the time)")
    create.add_argument("--collection", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    create.add_argument("--database", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    create.set_defaults(run=_backup_create)

    listing = _command(actions, "backup list")
    listing.add_argument("destination", metavar="DESTINATION", help=_PLACE)
    listing.add_argument("--uri", default="", help=_SERVED)
    listing.set_defaults(run=_backup_list)

    verify = _command(actions, "backup verify")
    verify.add_argument("destination", metavar="DESTINATION", help=_PLACE)
    verify.add_argument("name", nargs="?", default="", metavar="NAME", help="of the backup (default: the newest)")
    verify.add_argument("--uri", default="", help=_SERVED)
    verify.set_defaults(run=_backup_verify)

    restore = _command(actions, "backup restore")
    restore.add_argument("destination", metavar="DESTINATION", help=_PLACE)
    restore.add_argument("target", metavar="DATABASE", help=database)
    restore.add_argument("--name", default="", help="of the backup (default: the newest)")
    restore.add_argument("--collection", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    restore.add_argument("--rename", action="append", default=[], metavar="OLD=NEW", help="call it NEW; repeatable")
    restore.add_argument("--suffix", default="", help="put this behind every name")
    restore.add_argument("--into", default="", metavar="DATABASE", help="name of the database they go to")
    restore.set_defaults(run=_backup_restore)

    delete = _command(actions, "backup delete")
    delete.add_argument("destination", metavar="DESTINATION", help=_PLACE)
    delete.add_argument("name", metavar="NAME", help="of the backup")
    delete.add_argument("--uri", default="", help=_SERVED)
    delete.set_defaults(run=_backup_delete)


def _migrate_command(commands: _Commands[Parser]) -> None:
    migrate = _command(commands, "migrate")
    add = migrate.add_argument
    add("source", metavar="SOURCE", help="an address or a path, see above")
    add("target", metavar="TARGET", help="a path that ends in .db, or the address of a server")
    add("--from", dest="kind", metavar="KIND", default="", help="what SOURCE is, where that cannot be told: milvus, "
        "milvus-lite, redkite, chroma, qdrant, lancedb, parquet")  # fmt: skip
    add("--dry-run", action="store_true", help="say what would be carried, and write nothing")
    add("--collection", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    add("--rename", action="append", default=[], metavar="OLD=NEW", help="call it NEW; repeatable")
    add("--token", default="", help="user:password, or a key, at the source")
    add("--database", default="", metavar="NAME", help="which database of the source")
    add("--target-token", default="", metavar="TOKEN", help="user:password, or a key, at the target")
    add("--target-database", default="", metavar="NAME", help="which database of the target; made if missing")
    add("--typed", action="store_true", help="payload and metadata as columns, where the first rows agree on types")
    add("--key", default="", metavar="COLUMN", help="of LanceDB and Parquet: the primary key (default: id, if any)")
    add("--vector", default="", metavar="COLUMN", help="of Parquet: the vectors, where that cannot be told")
    add("--metric", default="", choices=("COSINE", "L2", "IP"), help="of LanceDB and Parquet")
    add("--python", default="", metavar="FILE", help="an interpreter that has milvus-lite, to read its files")
    add("--batch", type=int, default=1000, metavar="ROWS", help="rows of one write (default: %(default)s)")
    add(
        "--memory-limit", default="", metavar="SIZE", help="of a target that is a file, such as 1GB (default: no limit)"
    )
    add("--state", default="", metavar="FILE", help="where to note how far it came (default: in this folder)")
    migrate.set_defaults(run=_migrate)


def _promote_command(commands: _Commands[Parser]) -> None:
    promote = _command(commands, "promote")
    add = promote.add_argument
    add("source", metavar="SOURCE", help="the path of a database, or the address of a server")
    add("target", metavar="TARGET", help="the address of a server or a cluster, or a path that ends in .db; empty")
    add("--token", default="", help="user:password, or a key, at the source")
    add("--target-token", default="", metavar="TOKEN", help="user:password, or a key, at the target")
    promote.set_defaults(run=_promote)


def _promote(parsed: argparse.Namespace) -> int:
    from redkite.migration.promote import promote

    return promote(parsed.source, parsed.target, parsed.token, parsed.target_token, sys.stdout)


def _config_commands(commands: _Commands[Parser]) -> None:
    group = _command(commands, "config")
    group.set_defaults(run=_helper(group))
    actions = group.add_subparsers(dest="action", metavar="ACTION", title="actions")
    show = _command(actions, "config show")
    show.add_argument("--file", metavar="FILE", help="settings in TOML")
    show.set_defaults(run=_config_show)
    check = _command(actions, "config check")
    check.add_argument("file", metavar="FILE", help="settings in TOML")
    check.set_defaults(run=_config_check)
    reference = _command(actions, "config reference")
    reference.add_argument("--update", metavar="FILE", default="", help="renew the settings in this page instead")
    reference.set_defaults(run=_config_reference)


def _command(commands: _Commands[Parser], name: str) -> Parser:
    """A command as its page in the manual has it."""
    page = PAGES[name]
    one = commands.add_parser(
        name.rpartition(" ")[2], help=page.summary, description=page.text, epilog=epilog(name),
        formatter_class=_Formatter,
    )  # fmt: skip
    one.set_defaults(parser=one)
    return one


def _helper(one: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """What a command does that only has others below it."""

    def explain(_: argparse.Namespace) -> int:
        one.print_help()
        return 0

    return explain


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
    renames = _pairs(parsed.rename)
    if renames is None:
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


def _migrate(parsed: argparse.Namespace) -> int:
    renames = _pairs(parsed.rename)
    if renames is None:
        print("redkite migrate: --rename takes OLD=NEW", file=sys.stderr)
        return 2
    from redkite.migration.show import run

    names = ("kind", "token", "database", "target_token", "target_database", "typed", "key", "vector", "metric",
             "python", "batch", "memory_limit", "state")  # fmt: skip
    wishes = {name: getattr(parsed, name) for name in names}
    wishes |= {"collections": parsed.collection, "rename": renames}
    return run(parsed.source, parsed.target, wishes, sys.stdout, sys.stderr, dry_run=parsed.dry_run)


def _pairs(given: Sequence[str]) -> dict[str, str] | None:
    """OLD=NEW as old: new; None when one is not of that form."""
    pairs = dict(pair.partition("=")[::2] for pair in given)
    return pairs if all(old and new for old, new in pairs.items()) else None


def _config_show(parsed: argparse.Namespace) -> int:
    print(config.load(file=parsed.file).explain())
    return 0


def _config_check(parsed: argparse.Namespace) -> int:
    mistakes = config.mistakes(parsed.file)
    for mistake in mistakes:
        print(mistake)
    if not mistakes:
        print(f"{parsed.file} is right")
    return 3 if mistakes else 0


def setting_options() -> dict[str, str]:
    """Setting -> the option of `redkite serve` for it."""
    known = {key for key, _ in config.items(config.Settings())}
    actions = commands()["serve"]._actions
    return {action.dest: action.option_strings[-1] for action in actions if action.dest in known}


def _config_reference(parsed: argparse.Namespace) -> int:
    from redkite.manual.settings import reference, renewed

    if not parsed.update:
        print(reference(setting_options()), end="")
        return 0
    with open(parsed.update, encoding="utf-8") as file:
        page = file.read()
    try:
        fresh = renewed(page, setting_options())
    except ValueError as error:
        print(f"redkite config reference: {parsed.update}: {error}", file=sys.stderr)
        return 1
    with open(parsed.update, "w", encoding="utf-8") as file:
        file.write(fresh)
    return 0


def _openapi(parsed: argparse.Namespace) -> int:
    try:
        from redkite.server.rest.openapi import openapi_bytes
    except ModuleNotFoundError as error:
        return _missing("server", error)
    document = openapi_bytes().decode()
    if not parsed.output:
        print(document)
        return 0
    with open(parsed.output, "w", encoding="utf-8") as file:
        file.write(document)
    return 0


def _man(parsed: argparse.Namespace) -> int:
    from redkite.manual.render import man_page, markdown

    page = markdown(commands()) if parsed.markdown else man_page(commands(), __version__)
    if not parsed.output:
        print(page, end="")
        return 0
    with open(parsed.output, "w", encoding="utf-8") as file:
        file.write(page)
    return 0


def _missing(extra: str, error: ModuleNotFoundError) -> int:
    """A library that an extra brings is not installed. Anything else that is missing is a fault of ours."""
    if error.name is None or error.name.partition(".")[0] == "redkite":
        raise error
    print(f"redkite: this needs {error.name}, which is not installed: pip install 'redkite[{extra}]'", file=sys.stderr)
    return 1
