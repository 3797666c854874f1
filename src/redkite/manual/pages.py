"""The pages of the manual: for each command what it does, examples, exit statuses and variables."""

from __future__ import annotations

from typing import Final

from redkite.manual.cluster_pages import CLUSTER_PAGES
from redkite.manual.page import Example as Example
from redkite.manual.page import Page as Page

STATUSES: Final = (
    (0, "all is done"),
    (1, "it could not be done; the reason is on standard error"),
    (2, "the command line is wrong"),
    (130, "it was ended by Ctrl-C"),
)
"""What each command ends with."""
_DAMAGED: Final = ((3, "something is damaged"),)
_CLOUD: Final = ("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY …", "credentials of places such as s3://bucket/prefix")

PAGES: Final[dict[str, Page]] = {
    "": Page(
        "a vector database that speaks Milvus's protocols",
        """\
Redkite is a vector database that speaks Milvus's protocols: a library that opens a file, and a
server. In a program, with no server:

  from redkite import MilvusClient
  client = MilvusClient("./demo.db")""",
        (
            Example("redkite demo", "see it search real text, offline"),
            Example("redkite serve", "serve gRPC and REST on port 19530"),
            Example("redkite info ./demo.db", "what is in a database"),
            Example("redkite verify ./demo.db", "read it all, compare every checksum"),
            Example("redkite doctor ./demo.db", "what is wrong with it, and what can be done"),
            Example("redkite backup create ./demo.db /mnt/backups", "copy it"),
            Example("redkite migrate ./qdrant ./demo.db", "bring collections from elsewhere"),
            Example("redkite sql ./demo.db 'SELECT kind, count(*) FROM texts GROUP BY kind'"),
            Example("redkite mcp --uri ./demo.db", "let language models search it"),
            Example("redkite config check redkite.toml", "is a configuration right?"),
        ),
    ),
    "serve": Page(
        "serve a database to Milvus clients",
        """\
Serves one database to every Milvus client: gRPC and REST on one port. Ready when
http://127.0.0.1:9091/healthz answers 200; SIGTERM or Ctrl-C ends it cleanly, with status 0.

  from pymilvus import MilvusClient
  client = MilvusClient("http://localhost:19530")

Each option can also be set in the file or the environment; an option given here wins, then the
environment, then the file.""",
        (
            Example("redkite serve"),
            Example("redkite serve --data /srv/vectors --host 0.0.0.0 --port 19530"),
            Example("redkite serve --config redkite.toml --explain", "show each setting and where it is from"),
        ),
        variables=(
            ("REDKITE_CONFIG", "the file with settings, where --config names none"),
            ("REDKITE_PORT, REDKITE_DATA …", "any setting: its key in capitals, with REDKITE_ before it"),
        ),
    ),
    **CLUSTER_PAGES,
    "mcp": Page(
        "let agents search a database",
        """\
Lets agents (language models that speak the Model Context Protocol) search a database, and change
it unless --read-only is given. Over standard input and output, as most of them want it, or --http.

An agent's configuration names the command: {"command": "redkite", "args": ["mcp", "--uri", "./demo.db"]}
It needs the library mcp: pip install 'redkite[mcp]'""",
        (
            Example("redkite mcp --uri ./demo.db --read-only"),
            Example("redkite mcp --uri http://localhost:19530 --token root:Milvus --http --port 8000"),
        ),
        variables=(
            ("MILVUS_URI", "instead of --uri"),
            ("MILVUS_TOKEN", "instead of --token"),
            ("MILVUS_DB", "instead of --database"),
        ),
    ),
    "sql": Page(
        "ask a database in SQL",
        """\
Answers SQL over the collections of a database file or of a server: SELECT with joins, groups,
windows; vectors are arrays (array_distance, array_cosine_similarity). Without a statement it asks
for them, each ended by a semicolon; they may also be piped in.

It needs the library duckdb: pip install 'redkite[sql]'""",
        (
            Example("redkite sql ./demo.db 'SELECT kind, count(*) FROM texts GROUP BY kind'"),
            Example("redkite sql http://localhost:19530 --token root:Milvus --format csv 'SELECT * FROM birds'"),
        ),
    ),
    "demo": Page(
        "search the documentation of Python's standard library",
        """\
Indexes the documentation of Python's standard library (about 10,000 texts), prints searches by
meaning and by filter with their scores and times, opens the file again and searches once more.
Everything is offline. The first run takes some seconds, later ones reuse the database.

Building the database needs scikit-learn: pip install 'redkite[demo]'""",
        (
            Example("redkite demo"),
            Example("redkite demo --queries 'read a csv file' 'compress a file'"),
            Example("""redkite demo --queries 'split a path' --filter "module == 'os.path' and length > 100\""""),
        ),
    ),
    "info": Page(
        "show what is in a database",
        """\
Lists the collections of a database with their fields, rows, indexes and bytes on disk.
The database must not be open in another process.""",
        (Example("redkite info ./demo.db"),),
    ),
    "verify": Page(
        "read a whole database and compare every checksum",
        """\
Reads every byte of a database, compares it with its checksums and its parts with each other.
Nothing is changed. The database must not be open in another process.""",
        (Example("redkite verify ./demo.db"),),
        statuses=_DAMAGED,
    ),
    "doctor": Page(
        "say what is wrong with a database, and mend it",
        """\
Says what is wrong with a database in plain words, and what would mend it. What is given up stays
in the folder `quarantine` of the database. The exit status is that of `redkite verify` afterwards.""",
        (
            Example("redkite doctor ./demo.db", "look only"),
            Example("redkite doctor ./demo.db --repair", "do what loses nothing"),
            Example("redkite doctor ./demo.db --repair --backup /mnt/copies", "take damaged objects from copies there"),
            Example("redkite doctor ./demo.db --repair --accept-loss", "also give up what nothing else can mend"),
        ),
        statuses=_DAMAGED,
    ),
    "backup": Page(
        "make, check and restore copies of databases",
        """\
Copies of databases: consistent, checked, and small when little has changed.

A destination is a folder or a place for objects, such as
s3://bucket/prefix?endpoint=http://localhost:9000; pip install 'redkite[s3]' brings what is needed.
The destinations of a server are those it sees, below its setting `backups`.""",
        (
            Example("redkite backup create ./demo.db /mnt/backups", "a database that is not open elsewhere"),
            Example("redkite backup create http://localhost:19530 nightly", "a running server; writers go on"),
            Example("redkite backup list /mnt/backups"),
            Example("redkite backup verify /mnt/backups", "read it all, compare every checksum"),
            Example("redkite backup restore /mnt/backups ./other.db", "into another database …"),
            Example("redkite backup restore /mnt/backups ./demo.db --suffix _old", "… or beside what is there"),
            Example("redkite backup delete /mnt/backups backup-20260101T000000-000"),
        ),
        variables=(_CLOUD,),
    ),
    "backup create": Page(
        "copy a database as it is now",
        """\
Copies every collection, or those named, as it is at one moment. Objects that an earlier backup
brought to the same destination are not copied again. A backup that is cut off does not count:
make it again, and it uses what was copied.""",
        (
            Example("redkite backup create ./demo.db /mnt/backups"),
            Example("redkite backup create ./demo.db /mnt/backups --name monday --collection docs"),
            Example("redkite backup create http://localhost:19530 nightly"),
        ),
        variables=(_CLOUD,),
    ),
    "backup list": Page(
        "show the backups at a destination",
        "Lists the whole backups at a destination, the oldest first, with their collections.",
        (
            Example("redkite backup list /mnt/backups"),
            Example("redkite backup list nightly --uri http://localhost:19530"),
        ),
        variables=(_CLOUD,),
    ),
    "backup verify": Page(
        "read a whole backup and compare every checksum",
        "Reads every object of a backup and compares it with its checksum. Damaged ones are named, with status 1.",
        (
            Example("redkite backup verify /mnt/backups", "the newest"),
            Example("redkite backup verify /mnt/backups monday"),
        ),
        variables=(_CLOUD,),
    ),
    "backup restore": Page(
        "make collections out of a backup",
        """\
Makes new collections out of a backup, with their indexes; load them before searching. Either all
are made or, when an object is damaged or a name is taken, none.""",
        (
            Example("redkite backup restore /mnt/backups ./other.db", "the newest backup"),
            Example("redkite backup restore /mnt/backups ./demo.db --name monday --suffix _monday"),
            Example("redkite backup restore /mnt/backups ./demo.db --collection docs --rename docs=old_docs"),
            Example("redkite backup restore nightly http://localhost:19530 --into attic"),
        ),
        variables=(_CLOUD,),
    ),
    "backup delete": Page(
        "delete a backup",
        "Deletes a backup, and the objects that no other backup at the destination needs.",
        (Example("redkite backup delete /mnt/backups monday"),),
        variables=(_CLOUD,),
    ),
    "migrate": Page(
        "bring collections from another system, or another Redkite",
        """\
Carries collections over, with their schemas, indexes, partitions, aliases and dynamic keys. What is
there and what is lost is listed before anything is written; at the end rows are counted, and some
of them read again and compared.

SOURCE is one of
  http://host:19530, tcp://, unix:     a server of Milvus, Zilliz Cloud or Redkite
  qdrant+http://host:6333              a server of Qdrant
  chroma+http://host:8000              a server of Chroma
  PATH                                 a database of Redkite, a file or folder of milvus-lite, a folder of
                                       Chroma, Qdrant, LanceDB or Parquet files: told by what is in it
TARGET is a path that ends in .db, or the address of a server.

A run that was cut off goes on where it stopped when the same command is given again: a small file
in the current folder notes how far it came, and is removed at the end.""",
        (
            Example("redkite migrate http://localhost:19530 ./demo.db --dry-run", "what would be carried"),
            Example("redkite migrate http://localhost:19530 ./demo.db --collection docs --rename docs=papers"),
            Example("redkite migrate ./milvus_demo.db ./demo.db --python ./lite-env/bin/python", "milvus-lite"),
            Example("redkite migrate qdrant+http://localhost:6333 http://localhost:19530 --target-token root:Milvus"),
            Example("redkite migrate ./chroma ./demo.db --typed", "metadata as columns"),
            Example("redkite migrate ./parquet ./demo.db --key doc_id --metric L2"),
        ),
        statuses=((3, "something arrived otherwise than it was, or not at all"),),
    ),
    "promote": Page(
        "move a whole database to a server or a cluster, while it is written",
        """\
Carries everything from one Redkite to another that is empty: databases, collections, rows, indexes,
aliases, what is loaded, users, roles and policies. First what is there, then what is written
meanwhile. When little is left, the source refuses writes for a moment; rows and checksums of both
sides are compared, and from then on the target takes writes. The source stays as it is, and tells
writers where its data is now.

SOURCE is the path of a database that nobody else has open, or the address of a server.

A run that was cut off goes on where it stopped when the same command is given again. Where the two
sides differ at the end, nothing has moved, and the source takes writes as before.""",
        (
            Example("redkite promote ./demo.db http://localhost:19530", "from a file to a server"),
            Example("redkite promote http://one:19530 http://cluster:19530 --token root:a --target-token root:b"),
        ),
        statuses=((3, "the two sides were not the same, and nothing has moved"),),
    ),
    "config": Page(
        "show, check and explain settings",
        "What can be set, what is set, and whether a file is right.",
        (
            Example("redkite config show", "every setting, its value and where that is from"),
            Example("redkite config check redkite.toml", "unknown keys, wrong values"),
            Example("redkite config reference", "every setting in words, as Markdown"),
        ),
    ),
    "config show": Page(
        "show every setting with its value and its source",
        "Prints what `redkite serve` would use here: defaults, the file, the environment.",
        (
            Example("redkite config show"),
            Example("redkite config show --file redkite.toml"),
        ),
        variables=(("REDKITE_CONFIG", "the file, where --file names none"),),
    ),
    "config check": Page(
        "look for mistakes in a configuration file",
        """\
Names every key that does not exist, with the one that was likely meant, and every value that does
not fit.""",
        (Example("redkite config check redkite.toml"),),
        statuses=((3, "there are mistakes"),),
    ),
    "config reference": Page(
        "list every setting in words",
        """\
Prints every setting with its type, default, unit, variable, option and meaning, as Markdown. With
--update, renews that part of a page instead.""",
        (
            Example("redkite config reference"),
            Example("redkite config reference --update docs/configuration.md"),
        ),
    ),
    "openapi": Page(
        "print the OpenAPI document of REST",
        """\
Prints what a server answers at /v2/openapi.json: every endpoint of REST with its body, its answer
and an example, as OpenAPI 3.1. Clients in other languages can be generated from it.""",
        (
            Example("redkite openapi"),
            Example("redkite openapi --output ./redkite.json"),
        ),
    ),
    "man": Page(
        "print this manual as a man page",
        "Prints the man page redkite(1), made of the same texts as --help.",
        (
            Example("redkite man"),
            Example("redkite man --output ./redkite.1", "then: man ./redkite.1"),
            Example("redkite man --markdown --output docs/commands.md"),
        ),
    ),
}
