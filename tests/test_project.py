"""The repository itself: what an import costs, what is exported, and the habits the code keeps."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from tests.order import LONGEST

import redkite

IMPORT_CPU_MS = 150
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
# The seam, and the shells outside the engine: everybody else reaches the world through `Env`.
MAY_TOUCH_FILES = (
    "realenv.py", "simulated.py", "cli.py", "config.py", "info.py", "client/", "server/", "demo/", "migration/",
    "cluster/config.py", "launch/",
)  # fmt: skip


def python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return result.stdout.strip()


def sources(repository: Path) -> Iterator[Path]:
    yield from sorted((repository / "src" / "redkite").rglob("*.py"))


# -- importing ----------------------------------------------------------------------------------
def test_importing_redkite_costs_little_cpu() -> None:
    code = "import time; t = time.process_time(); import redkite; print(1000 * (time.process_time() - t))"
    assert min(float(python(code)) for _ in range(5)) < IMPORT_CPU_MS


@pytest.mark.parametrize("statement", ["import redkite", "from redkite import DataType, MilvusException"])
def test_importing_redkite_loads_no_heavy_library(statement: str) -> None:
    loaded = python(f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})").split()
    heavy = {"pandas", "numpy", "pyarrow", "faiss", "grpc", "google", "starlette", "uvicorn", "sklearn", "asyncio"}
    assert not heavy & set(loaded)


def test_every_exported_name_can_be_imported_and_is_listed() -> None:
    listed = dir(redkite)
    for name in redkite.__all__:
        assert getattr(redkite, name) is not None
        assert name in listed


def test_the_exports_are_those_a_type_checker_sees(repository: Path) -> None:
    tree = ast.parse((repository / "src" / "redkite" / "__init__.py").read_text())
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {alias.asname for node in guard.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == set(redkite.__all__) - {"__version__"}


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'redkite' has no attribute 'MilvusKlient'"):
        _ = redkite.MilvusKlient  # type: ignore[attr-defined]


# -- packaging ----------------------------------------------------------------------------------
def test_the_version_is_the_same_everywhere(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert project["version"] == redkite.__version__


def test_every_dependency_is_pinned_once_and_named_without_a_host(repository: Path) -> None:
    lines = [line for line in (repository / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line) for line in lines)
    names = [normal(line.partition("==")[0]) for line in lines]
    assert len(names) == len(set(names))
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    assert {normal(re.split(r"[\[<>=]", name)[0]) for name in wanted} - {"redkite"} <= set(names)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_explained(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    explained = (repository / "docs" / "dependencies.md").read_text()
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    for requirement in wanted:
        name = re.split(r"[\[<>=]", requirement)[0]
        assert name == "redkite" or f"**{name}**" in explained, name


def test_every_folder_has_its_section_in_the_architecture(repository: Path) -> None:
    architecture = (repository / "ARCHITECTURE.md").read_text()
    for folder in sorted((repository / "src" / "redkite").iterdir()):
        if folder.is_dir() and any(folder.glob("*.py")):
            assert f"](src/redkite/{folder.name}/)" in architecture, folder.name


def test_links_in_the_documentation_lead_somewhere(repository: Path) -> None:
    for page in (*repository.glob("*.md"), *repository.glob("docs/*.md"), *repository.glob("benchmarks/*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


# -- habits -------------------------------------------------------------------------------------
def test_no_file_and_no_function_is_too_long(repository: Path) -> None:
    too_long: list[str] = []
    for path in sources(repository):
        text = path.read_text()
        if (lines := text.count("\n")) > MAX_FILE_LINES:
            too_long.append(f"{path.relative_to(repository)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                length = (node.end_lineno or first.lineno) - first.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long.append(f"{path.relative_to(repository)}:{node.lineno} {node.name}: {length} lines")
    assert not too_long, "\n".join(too_long)


def test_the_engine_opens_no_file_behind_the_seam(repository: Path) -> None:
    package = repository / "src" / "redkite"
    opened: list[str] = []
    for path in sources(repository):
        place = path.relative_to(package).as_posix()
        if place.startswith(MAY_TOUCH_FILES):
            continue
        opened += [
            f"{place}:{node.lineno}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and called(node) in ("open", "write_bytes", "write_text", "fromfile")
        ]
    assert not opened, "\n".join(opened)


def called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    is_path = isinstance(node.func, ast.Attribute) and node.func.attr != "open"
    return node.func.attr if is_path and isinstance(node.func, ast.Attribute) else ""


def test_the_repository_names_no_machine(repository: Path) -> None:
    # Spelled with classes of one letter, so that this file does not hold what it forbids.
    forbidden = re.compile(r"/roo[t]/|/wor[k]/|pyp[i]\.org|pythonhoste[d]|index-ur[l]")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        path = repository / name
        if path.is_file() and path.suffix not in (".pb", ".png"):
            found = forbidden.search(path.read_text(errors="replace"))
            assert found is None, f"{name}: {found}"


def test_the_test_modules_said_to_take_longest_are_there(repository: Path) -> None:
    assert [module for module in LONGEST if not (repository / "tests" / f"{module}.py").exists()] == []
    assert len(set(LONGEST)) == len(LONGEST)
