"""The manual: help texts, the man page, the list of settings, and the commands that the documentation shows."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from tests.snippets import PAGES as DOCUMENTS
from tests.snippets import REPOSITORY, blocks

from redkite import __version__, cli
from redkite.manual.pages import PAGES, STATUSES, Page
from redkite.manual.render import man_page, markdown, statuses
from redkite.manual.settings import reference, renewed, settings

COMMANDS = cli.commands()
INLINE = re.compile(r"`(redkite [a-z][^`…]*)`")


def parse(line: str) -> argparse.Namespace:
    """A line for a shell, as the command line reads it. Raises SystemExit for one that it does not."""
    words = shlex.split(line, comments=True)
    words = words[: next((at for at, word in enumerate(words) if word in ("|", "&&", ">", "&")), None)]
    assert words[0] == "redkite"
    parsed, unknown = cli.parser().parse_known_args(words[1:])
    assert not unknown, (line, unknown)
    return parsed


def mention(line: str) -> None:
    """A command that is only spoken of: it is there, and its options are."""
    words = line.split()
    name = max((name for name in COMMANDS if f"{line} ".startswith(f"redkite {name} ".replace("  ", " "))), key=len)
    assert name or words[1].startswith("-"), line
    for word in words[1:]:
        if word.startswith("--"):
            assert word.partition("=")[0] in COMMANDS[name]._option_string_actions, line


# -- help ---------------------------------------------------------------------------------------
def test_every_command_has_its_page_and_every_page_its_command() -> None:
    assert COMMANDS.keys() == PAGES.keys()


@pytest.mark.parametrize("name", PAGES)
def test_every_example_of_a_page_is_a_line_that_can_be_given(name: str) -> None:
    page = PAGES[name]
    assert page.examples
    for example in page.examples:
        parsed = parse(example.line)
        asked = " ".join(filter(None, (parsed.command, getattr(parsed, "action", None))))
        assert asked.startswith(name), example.line


@pytest.mark.parametrize("name", PAGES)
def test_the_help_of_a_command_has_a_synopsis_examples_and_exit_statuses(name: str) -> None:
    text = COMMANDS[name].format_help()
    assert text.startswith(f"usage: {f'redkite {name}'.strip()} ")
    assert "\nexamples:\n  redkite" in text
    assert "\nexit status:\n" in text
    for number, meaning in statuses(PAGES[name]):
        assert re.search(rf"^  {number} +{re.escape(meaning)}$", text, re.MULTILINE)
    for variable, _ in PAGES[name].variables:
        assert variable in text
    assert max(map(len, text.splitlines())) <= 120


def test_every_option_says_what_it_does() -> None:
    for name, command in COMMANDS.items():
        for action in command._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), (name, action.dest)


def test_statuses_are_told_once_each() -> None:
    for page in PAGES.values():
        numbers = [number for number, _ in statuses(page)]
        assert len(numbers) == len(set(numbers))
    assert statuses(Page("", "", ())) == list(STATUSES)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("serv", "did you mean serve?"),
        ("backup creat", "did you mean create?"),
        ("serve --prot 1", "did you mean --port?"),
        ("serve --memory_limit=1GB", "did you mean --memory-limit?"),
        ("backup create a b --colection x", "did you mean --collection?"),
        ("migrate a b --dryrun", "did you mean --dry-run?"),
        ("sql a --format cvs", "did you mean csv?"),
    ],
)
def test_a_word_that_is_not_known_brings_the_one_that_was_meant(
    line: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(line.split())
    assert ended.value.code == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("group", ["backup", "config"])
def test_a_group_alone_shows_its_help(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([group]) == 0
    assert capsys.readouterr().out == COMMANDS[group].format_help()


# -- the man page -------------------------------------------------------------------------------
def test_the_man_page_names_every_command_and_option(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["man"]) == 0
    page = capsys.readouterr().out
    assert page == man_page(COMMANDS, __version__)
    for name, command in COMMANDS.items():
        assert not name or f".SS redkite {name}\n" in page
        for action in command._actions:
            for option in action.option_strings[-1:]:
                assert option.replace("-", "\\-") in page
    assert cli.main(["man", "--output", str(tmp_path / "redkite.1")]) == 0
    assert (tmp_path / "redkite.1").read_text() == page


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_man_page_is_read_without_a_warning() -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", "-Kutf8"]
    page = man_page(COMMANDS, __version__)
    done = subprocess.run(command, input=page, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert "redkite backup restore" in done.stdout


def test_the_page_about_commands_is_the_one_the_code_makes() -> None:
    page = (REPOSITORY / "docs" / "commands.md").read_text()
    assert page == markdown(COMMANDS), "run: redkite man --markdown --output docs/commands.md"


# -- settings -----------------------------------------------------------------------------------
def test_the_page_about_the_configuration_is_the_one_the_code_makes() -> None:
    page = (REPOSITORY / "docs" / "configuration.md").read_text()
    assert page == renewed(page, cli.setting_options()), "run: redkite config reference --update docs/configuration.md"


def test_every_setting_says_what_it_means() -> None:
    every = settings(cli.setting_options())
    assert [each.key for each in every if not each.meaning] == []
    port = next(each for each in every if each.key == "port")
    assert (port.type, port.default, port.variable, port.option) == ("integer", "19530", "REDKITE_PORT", "--port")
    topk = next(each for each in every if each.key == "limits.max_topk")
    assert (topk.variable, topk.option) == ("REDKITE_LIMITS_MAX_TOPK", "")
    seal = next(each for each in every if each.key == "seal_bytes")
    assert seal.unit == "bytes"


def test_the_reference_is_printed_and_put_into_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["config", "reference"]) == 0
    printed = capsys.readouterr().out
    assert printed == reference(cli.setting_options())
    page = tmp_path / "page.md"
    first, last = printed.splitlines()[0], printed.splitlines()[-1]
    page.write_text(f"before\n{first}\nold\n{last}\nafter\n")
    assert cli.main(["config", "reference", "--update", str(page)]) == 0
    assert page.read_text() == f"before\n{printed}after\n"
    page.write_text("nothing here")
    assert cli.main(["config", "reference", "--update", str(page)]) == 1
    assert "the page has no marks for its settings" in capsys.readouterr().err


def test_a_configuration_file_is_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "redkite.toml"
    path.write_text("prot = 1\n[limits]\nmax_topkk = 2\n")
    assert cli.main(["config", "check", str(path)]) == 3
    assert capsys.readouterr().out.splitlines() == [
        f"unknown setting 'prot' (file {path}); did you mean port?",
        f"unknown setting 'limits.max_topkk' (file {path}); did you mean limits.max_topk?",
    ]
    path.write_text("port = 1\n")
    assert cli.main(["config", "check", str(path)]) == 0
    assert capsys.readouterr().out == f"{path} is right\n"
    assert cli.main(["config", "check", str(tmp_path / "nowhere.toml")]) == 1
    assert cli.main(["config", "show", "--file", str(path)]) == 0
    assert f"file {path}" in capsys.readouterr().out


# -- what the documentation shows ---------------------------------------------------------------
def shell_lines(page: Path) -> list[str]:
    """Lines of the blocks for a shell, those that go on in the next one joined."""
    text = "\n".join(block.text for block in blocks(page, "bash") if not block.reason)
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_commands_that_the_documentation_shows_can_be_given(page: Path) -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for line in INLINE.findall(page.read_text()):
        mention(line)
    for line in shell_lines(page):
        if "--help" in line:
            mention(line)
        elif line.startswith("redkite "):
            parse(line)
        elif line.startswith("make "):
            assert line.split()[1] in targets, line
        for extra in re.findall(r"redkite\[([\w,]+)\]|'\.\[([\w,]+)\]'", line):
            assert set("".join(extra).split(",")) <= extras.keys(), line
