"""The official pymilvus opens local `.db` files with Redkite while redkite-lite-dropin is installed.

Each program runs in a process of its own that is begun as the distribution's `.pth` file begins one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("pymilvus")

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALLED = find_spec("redkite_dropin") is not None
"""Then the interpreter reads the `.pth` file by itself: `make dropin`."""
BEGIN = "" if INSTALLED else (REPOSITORY / "dropin" / "redkite_dropin.pth").read_text()
OURS = () if INSTALLED else (REPOSITORY / "dropin", REPOSITORY / "src")
SECONDS = 60


def start(program: str, folder: Path, *more: Path) -> subprocess.Popen[str]:
    """A Python that runs the program in the folder, as if the distribution, and what is in `more`, were installed."""
    paths = [*map(str, OURS), *map(str, more)]
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + "\n" + textwrap.dedent(program)],
        cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip


def run(program: str, folder: Path, *more: Path) -> str:
    """What the program printed; it must end well, and say nothing on standard error."""
    process = start(program, folder, *more)
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, ""), errors
    return output.strip()


FILL = """
    from pymilvus import MilvusClient
    client = MilvusClient("./birds.db")
    client.create_collection("birds", dimension=4, consistency_level="Strong")
    rows = [{"id": i, "vector": [i, 1.0, 0.5, 0.0], "name": f"bird {i}"} for i in range(10)]
    print(client.insert("birds", rows)["insert_count"])
"""


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database that pymilvus wrote."""
    folder = tmp_path_factory.mktemp("filled")
    assert run(FILL, folder) == "10"
    return folder / "birds.db"


@pytest.fixture
def folder(tmp_path: Path, filled: Path) -> Path:
    """A folder with a copy of that database."""
    shutil.copytree(filled, tmp_path / "birds.db")
    return tmp_path


def test_rows_written_by_one_program_are_found_by_the_next(folder: Path) -> None:
    assert (folder / "birds.db" / "catalog").exists()
    found = run(
        """
        from pymilvus import MilvusClient
        client = MilvusClient("./birds.db")
        hits = client.search("birds", data=[[0.0, 1.0, 0.5, 0.0]], limit=2, filter="id < 5", output_fields=["name"])
        print(hits[0][0]["entity"]["name"], client.query("birds", output_fields=["count(*)"])[0]["count(*)"])
        """,
        folder,
    )
    assert found == "bird 0 10"


def test_asynchronous_and_older_classes_open_files_too(folder: Path) -> None:
    found = run(
        """
        import asyncio, warnings
        warnings.simplefilter("ignore")
        from pymilvus import AsyncMilvusClient, Collection, connections

        async def count():
            client = AsyncMilvusClient("./birds.db")
            rows = await asyncio.gather(*(client.query("birds", filter=f"id == {i}") for i in range(10)))
            await client.close()
            return sum(map(len, rows))

        print(asyncio.run(count()))
        connections.connect("default", uri="./birds.db")
        print(Collection("birds").num_entities >= 0)
        """,
        folder,
    )
    assert found.split() == ["10", "True"]


def test_clients_of_one_file_in_one_process_share_it_with_those_of_redkite(folder: Path) -> None:
    found = run(
        """
        import os, pymilvus, redkite
        from milvus_lite.server_manager import server_manager_instance as manager
        first = pymilvus.MilvusClient("./birds.db")
        second = pymilvus.MilvusClient(os.path.abspath("birds.db"))
        ours = redkite.MilvusClient("./birds.db")
        ours.delete("birds", ids=[1])
        print(len(second.query("birds", filter="id < 3")), len(manager._servers))
        folder = os.path.dirname(manager.start_and_get_uri("birds.db").removeprefix("unix:"))
        print(oct(os.stat(folder).st_mode & 0o777))
        """,
        folder,
    )
    assert found.split() == ["2", "1", "0o700"]


def test_a_second_process_is_told_who_has_the_file(folder: Path) -> None:
    open_it = """
    from pymilvus import MilvusClient
    from pymilvus.exceptions import ConnectionConfigException
    try:
        client = MilvusClient("./birds.db")
        print(len(client.query("birds", filter="id >= 0")), flush=True)
    except ConnectionConfigException as error:
        print(error.message)
    """
    holder = start(open_it + "input()", folder)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "10\n"
    try:
        refused = run(open_it, folder)
        assert "birds.db" in refused
        assert str(holder.pid) in refused
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=SECONDS)
    assert run(open_it, folder) == "10"  # nothing of the killed one is in the way


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_database_of_redkite_is_refused_in_plain_words(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "other.db"
    if kind == "file":
        place.write_bytes(b"SQLite format 3\0" * 10)
    else:
        place.mkdir()
        (place / "data").write_bytes(b"something else")
    before = sorted(tmp_path.rglob("*"))
    refused = run(
        """
        from pymilvus import MilvusClient
        from pymilvus.exceptions import ConnectionConfigException
        try:
            MilvusClient("./other.db")
        except ConnectionConfigException as error:
            print(error.message)
        """,
        tmp_path,
    )
    assert "is no database of Redkite" in refused
    assert "Milvus Lite" in refused
    assert sorted(tmp_path.rglob("*")) == before


def test_a_server_that_is_released_leaves_the_file_to_others(folder: Path) -> None:
    found = run(
        """
        import os
        from milvus_lite.server_manager import server_manager_instance as manager
        first = manager.start_and_get_uri("birds.db")
        assert manager.start_and_get_uri("./birds.db") == first
        manager.release_server("birds.db")
        assert not os.path.exists(first.removeprefix("unix:"))
        second = manager.start_and_get_uri("birds.db")
        from pymilvus import MilvusClient
        print(len(MilvusClient("birds.db").query("birds", filter="id >= 0")))
        manager.release_all()
        print(os.path.exists(second.removeprefix("unix:")), "LOCK" in os.listdir("birds.db") or True)
        """,
        folder,
    )
    assert found.split() == ["10", "False", "True"]


def test_a_fork_uses_the_server_of_its_parent(folder: Path) -> None:
    found = run(
        """
        import os, subprocess, sys
        from milvus_lite.server_manager import server_manager_instance as manager
        uri = manager.start_and_get_uri("birds.db")
        child = os.fork()
        if child == 0:
            from pymilvus import MilvusClient
            same = manager.start_and_get_uri("birds.db") == uri
            rows = MilvusClient("birds.db").query("birds", filter="id >= 0")
            manager.release_all()  # the parent's: not ours to stop
            os._exit(0 if same and len(rows) == 10 else 1)
        print(os.waitpid(child, 0)[1])
        from pymilvus import MilvusClient
        print(len(MilvusClient("birds.db").query("birds", filter="id >= 0")))
        """,
        folder,
    )
    assert found.split() == ["0", "10"]


def test_milvus_lite_beside_it_stays_as_it_is_but_opens_no_files(tmp_path: Path) -> None:
    lite = tmp_path / "site" / "milvus_lite"
    lite.mkdir(parents=True)
    (lite / "__init__.py").write_text("name = 'the real one'\n")
    (lite / "server_manager.py").write_text("raise AssertionError('not asked')\n")
    (lite / "other.py").write_text("value = 7\n")
    found = run(
        """
        import milvus_lite, milvus_lite.other, milvus_lite.server_manager
        print(milvus_lite.name, milvus_lite.other.value, "redkite_dropin" in milvus_lite.server_manager.__file__)
        """,
        tmp_path,
        lite.parent,
    )
    assert found == "the real one 7 True"


def test_the_start_of_an_interpreter_loads_nothing_of_redkite(tmp_path: Path) -> None:
    found = run(
        """
        import sys
        print([name for name in sys.modules if name.partition(".")[0] in ("redkite", "milvus_lite", "importlib.util")])
        """,
        tmp_path,
    )
    assert found == "[]"


def test_it_says_who_opens_files(tmp_path: Path) -> None:
    found = run("import runpy; runpy.run_module('redkite_dropin', run_name='asked').get('main')()", tmp_path)
    assert "opens .db files with Redkite" in found
