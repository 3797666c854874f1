"""The `redkite` command: what it prints, and how it ends."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from redkite import DataType, MilvusClient, __version__, cli, config
from redkite.demo import corpus


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def make_database(path: str) -> None:
    client = MilvusClient(path)
    schema = client.create_schema(auto_id=False, description="birds of the forest")
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("name", DataType.VARCHAR, max_length=50)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 40})
    client.create_collection("birds", schema=schema, index_params=index)
    client.insert("birds", [{"id": n, "name": f"bird {n}", "vector": [n, 1, 2, 3]} for n in range(7)])
    client.flush("birds")
    client.insert("birds", [{"id": n, "name": f"bird {n}", "vector": [n, 1, 2, 3]} for n in range(7, 9)])
    client.create_alias("birds", "animals")
    client.create_collection("empty", dimension=8)
    client.close()


# -- help ---------------------------------------------------------------------------------------
def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys)
    assert status == 0
    assert "redkite serve" in out
    assert "redkite demo" in out
    assert "redkite info" in out


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("serve", ["--data DIR", "--host", "--port", "--metrics-port", "--config FILE"]),
        ("demo", ["--path", "--queries"]),
        ("info", ["PATH"]),
    ],
)
def test_the_help_of_a_command_has_its_options_and_an_example(
    capsys: pytest.CaptureFixture[str], command: str, options: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"\n  redkite {command}" in out
    assert all(option in out for option in options)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"redkite {__version__}\n"


def test_help_loads_no_library() -> None:
    code = "import sys, redkite.cli; redkite.cli.main([]); print(*{n.partition('.')[0] for n in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"numpy", "pyarrow", "faiss", "grpc"} & set(loaded.stdout.split())


def test_a_wrong_option_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--prot", "1"])
    assert ended.value.code == 2


# -- serve --------------------------------------------------------------------------------------
def test_serve_passes_its_options_as_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from redkite.server import main as server

    seen: list[config.Settings] = []
    monkeypatch.setattr(server, "serve", lambda settings: seen.append(settings) or 7)
    file = tmp_path / "redkite.toml"
    file.write_text("host = '::1'\nseal_rows = 5000\nport = 4\n")
    options = ["--config", str(file), "--data", str(tmp_path), "--port", "5", "--metrics-port", "6"]
    assert cli.main(["serve", *options]) == 7
    wanted = config.Settings(data=str(tmp_path), host="::1", port=5, metrics_port=6, seal_rows=5000)
    assert seen == [wanted]


def test_serve_explains_its_settings_instead_of_serving(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "serve", "--explain", "--port", "5")
    assert status == 0
    assert any(line.split() == ["port", "5", "argument"] for line in out.splitlines())


def test_a_wrong_setting_is_an_error_without_a_traceback(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "redkite.toml"
    file.write_text("prot = 4\n")
    status, _, err = run(capsys, "serve", "--config", str(file))
    assert status == 1
    assert err == f"redkite: unknown setting 'prot' (file {file}); did you mean port?\n"


@pytest.mark.parametrize(("given", "meant"), [("--prot", "--port"), ("--hots=::1", "--host"), ("--set", "")])
def test_an_unknown_option_is_named_with_what_it_may_have_been(
    capsys: pytest.CaptureFixture[str], given: str, meant: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", given])
    assert ended.value.code == 2
    hint = f"; did you mean {meant}?" if meant else ""
    assert capsys.readouterr().err.endswith(f"error: unrecognized arguments: {given}{hint}\n")


def test_a_missing_library_is_named_with_its_extra() -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from redkite.cli import main; sys.exit(main(['serve']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "uvicorn" in ended.stderr
    assert "pip install 'redkite[server]'" in ended.stderr
    assert "Traceback" not in ended.stderr


# -- info ---------------------------------------------------------------------------------------
def test_info_shows_collections_fields_indexes_and_rows(capsys: pytest.CaptureFixture[str], database_path: str) -> None:
    make_database(database_path)
    status, out, _ = run(capsys, "info", database_path)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert status == 0
    assert any(line.startswith("birds 9 rows, loaded, created 20") for line in lines)
    assert "birds of the forest" in lines
    assert "also known as animals" in lines
    assert "id INT64 primary key" in lines
    assert "name VARCHAR(50)" in lines
    assert any(line.startswith("vector FLOAT_VECTOR(4) HNSW L2 M=8") for line in lines)
    assert any(line.startswith("1 sealed segment: 7 rows; ") for line in lines)
    assert "2 rows in the log, not sealed yet" in lines
    assert any(line.startswith("empty 0 rows") for line in lines)
    assert "and any other field a row brings" in lines


def test_info_makes_no_database_where_there_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = tmp_path / "nothing.db"
    assert run(capsys, "info", str(missing)) == (1, "", f"redkite: {missing} does not exist\n")
    assert not missing.exists()
    assert run(capsys, "info", str(tmp_path)) == (1, "", f"redkite: there is no database at {tmp_path}\n")
    assert os.listdir(tmp_path) == []


def test_info_names_the_process_that_has_the_database_open(database_path: str) -> None:
    client = MilvusClient(database_path)
    command = [sys.executable, "-m", "redkite", "info", database_path]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    client.close()
    assert ended.returncode == 1
    assert f"process {os.getpid()}" in ended.stderr
    assert "Traceback" not in ended.stderr


# -- demo ---------------------------------------------------------------------------------------
PACKAGES = {
    "asyncio", "collections", "csv", "email", "functools", "http", "importlib", "inspect", "io", "itertools", "json",
    "logging", "math", "multiprocessing", "os", "pathlib", "random", "re", "selectors", "shutil", "socket",
    "statistics", "string", "subprocess", "tempfile", "threading", "types", "typing", "unittest", "urllib",
}  # fmt: skip
"""Some of the standard library: the demo does with all of it what it does with these."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The demo's database, and what was printed while it was built."""
    path, printed = str(tmp_path_factory.mktemp("demo") / "demo.db"), io.StringIO()
    files = [one for one in corpus._source_files() if one[0].partition(".")[0] in PACKAGES]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(corpus, "_source_files", lambda: files)
        assert cli.main(("demo", "--path", path)) == 0
    return path, printed.getvalue()


@pytest.mark.slow
def test_the_demo_builds_searches_and_reopens(demo: tuple[str, str]) -> None:
    _, out = demo
    assert "“how do I parse json”" in out
    assert "json.decoder" in out
    assert "where module == 'os.path' and length > 100" in out
    assert "os.path.split" in out
    assert out.count("“how do I parse json”") == 2
    rated = [line.split() for line in out.splitlines() if line.startswith(("  dense", "  BM25", "  hybrid"))]
    ways = {words[0]: float(words[1]) for words in rated}
    assert ways.keys() == {"dense", "BM25", "hybrid"}
    assert all(recall > 0.5 for recall in ways.values())
    first, second = (part.split("\n", 2)[2].split("\n\n")[0].splitlines()[:6] for part in out.split("“how do")[1:])
    assert first == second


@pytest.mark.slow
def test_a_second_demo_reuses_the_database_and_asks_what_it_is_told(
    demo: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = demo
    status, out, _ = run(capsys, "demo", "--path", path, "--queries", "sort a list", "--filter", "kind == 'module'")
    assert status == 0
    assert "from an earlier run" in out
    assert "“sort a list”   where kind == 'module'" in out
    assert "function  " not in out


def test_a_filter_without_queries_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "demo", "--filter", "length > 3")
    assert status == 2
    assert "--filter goes with --queries" in err


# -- sql ----------------------------------------------------------------------------------------
@pytest.fixture
def shop(tmp_path: Path) -> str:
    """A database file with one small collection."""
    path = str(tmp_path / "shop.db")
    with MilvusClient(path) as client:
        client.create_collection("birds", dimension=2)
        client.insert("birds", [{"id": n, "vector": [n, n], "kind": "kite"} for n in range(3)])
    return path


def test_a_statement_is_answered_as_a_table_as_csv_and_as_json(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    statement = "SELECT kind, count(*) AS n FROM birds GROUP BY kind"
    assert cli.main(["sql", shop, statement]) == 0
    assert "kite" in capsys.readouterr().out
    assert cli.main(["sql", shop, statement, "--format", "json"]) == 0
    assert capsys.readouterr().out == '{"kind":"kite","n":3}\n'


def test_statements_are_piped_in(shop: str) -> None:
    command = [sys.executable, "-m", "redkite", "sql", shop, "--format", "csv"]
    given = "SELECT count(*) AS n\nFROM birds;\nSELECT nothing FROM birds;\nSELECT max(id) AS m FROM birds"
    done = subprocess.run(command, check=False, input=given, capture_output=True, text=True, timeout=60)
    assert done.stdout == '"n"\n3\n"m"\n2\n'
    assert "nothing" in done.stderr and done.returncode == 1


def test_a_statement_that_fails_is_told(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sql", shop, "SELECT * FROM fish"]) == 1
    assert "there is no table fish" in capsys.readouterr().err
