"""Pages as help texts and as a man page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from redkite.manual.pages import PAGES, STATUSES, Example, Page

_INDENT = "  "
_EXAMPLE_WIDTH = 56


def epilog(name: str) -> str:
    """What stands below the options of a command."""
    page = PAGES[name]
    lines = ["examples:", *map(_example, page.examples), "", "exit status:"]
    lines += [f"{_INDENT}{number:<5}{meaning}" for number, meaning in statuses(page)]
    if page.variables:
        lines += ["", "environment:", *(f"{_INDENT}{name}\n{_INDENT * 3}{does}" for name, does in page.variables)]
    return "\n".join(lines)


def statuses(page: Page) -> list[tuple[int, str]]:
    """What a command may end with, in order."""
    return sorted((*STATUSES, *page.statuses))


def _example(example: Example) -> str:
    if not example.does:
        return f"{_INDENT}{example.line}"
    if len(example.line) <= _EXAMPLE_WIDTH:
        return f"{_INDENT}{example.line:<{_EXAMPLE_WIDTH}}  {example.does}"
    return f"{_INDENT}{example.line}\n{_INDENT}{'':<{_EXAMPLE_WIDTH}}  {example.does}"


# -- the man page -------------------------------------------------------------------------------
Commands = dict[str, argparse.ArgumentParser]
"""Name, such as `backup create`, or empty for the whole -> its parser."""


def man_page(commands: Commands, version: str) -> str:
    """The whole manual in the language of man(7)."""
    whole = PAGES[""]
    lines = [
        f'.TH REDKITE 1 "" "redkite {version}" "Redkite"',
        ".SH NAME",
        f"redkite \\- {_plain(whole.summary)}",
        ".SH SYNOPSIS",
        ".B redkite",
        "[\\-\\-version] [\\-\\-help] COMMAND [ARGUMENT …]",
        ".SH DESCRIPTION",
        *_paragraphs(whole.text),
        ".SH COMMANDS",
    ]
    for name in commands:
        if name:
            lines += _command(name, commands[name], PAGES[name])
    lines += [".SH EXIT STATUS"]
    for number, meaning in STATUSES:
        lines += [".TP", f".B {number}", _plain(meaning)]
    lines += [".SH EXAMPLES", *list(_examples(whole))[2:]]
    lines += [".SH ENVIRONMENT"]
    for variable, does in dict(pair for name in commands for pair in PAGES[name].variables).items():
        lines += [".TP", f".B {_plain(variable)}", _plain(does)]
    return "\n".join(lines) + "\n"


def _command(name: str, parser: argparse.ArgumentParser, page: Page) -> Iterator[str]:
    yield f".SS redkite {name}"
    yield f"{_plain(page.summary[0].upper() + page.summary[1:])}."
    yield ".PP"
    yield from (".nf", _plain(" ".join(parser.format_usage().removeprefix("usage: ").split())), ".fi")
    yield from _paragraphs(page.text)
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        yield ".TP"
        yield f".B {_plain(_shown(action))}"
        yield _plain((action.help or "") % {"default": action.default, "prog": "redkite"})
    if page.statuses:
        yield ".PP"
        yield " ".join(f"Status {number}: {_plain(meaning)}." for number, meaning in page.statuses)
    yield from _examples(page)


def _shown(action: argparse.Action) -> str:
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    if not action.option_strings:
        return str(value)
    return ", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {value}")


def _paragraphs(text: str) -> Iterator[str]:
    yield ".PP"
    yield ".nf"
    yield from map(_plain, text.splitlines())
    yield ".fi"


def _examples(page: Page) -> Iterator[str]:
    yield from (".PP", "Examples:", ".PP")
    yield ".nf"
    yield from (_plain(line) for example in page.examples for line in _example(example).splitlines())
    yield ".fi"


def _plain(text: str) -> str:
    """A text whose signs man takes for what they are."""
    made = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{made}" if made.startswith(".") else made


# -- as a page of the documentation -------------------------------------------------------------
def markdown(commands: Commands) -> str:
    """The whole manual as Markdown."""
    lines = [
        "# Commands",
        "",
        "Made by `redkite man --markdown`, of the same texts as `redkite --help` and the man page (`redkite man`).",
        "",
        "| command | does |",
        "|---|---|",
        *(f"| [redkite {name}](#{_anchor(name)}) | {PAGES[name].summary} |" for name in commands if name),
        "",
        "Every command ends with one of these, and a few with more:",
        "",
        *_table(("status", "meaning"), [(str(number), meaning) for number, meaning in STATUSES]),
        "",
        "An option that does not exist brings the one that was likely meant, with status 2.",
    ]
    for name in commands:
        if name:
            lines += _section(name, commands[name], PAGES[name])
    return "\n".join(lines) + "\n"


def _anchor(name: str) -> str:
    return f"redkite-{name.replace(' ', '-')}"


def _section(name: str, parser: argparse.ArgumentParser, page: Page) -> Iterator[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    yield from ("", f"## redkite {name}", "", "```text", usage, "", *page.text.splitlines(), "```", "")
    shown = [
        (f"`{_shown(action)}`", (action.help or "") % {"default": action.default, "prog": "redkite"})
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    ]
    if shown:
        yield from (*_table(("argument", "meaning"), shown), "")
    yield "```bash"
    yield from (f"{example.line}  # {example.does}" if example.does else example.line for example in page.examples)
    yield "```"
    if page.statuses:
        yield from ("", *(f"Status {number}: {meaning}." for number, meaning in page.statuses))
    if page.variables:
        yield from ("", *_table(("variable", "meaning"), [(f"`{name}`", does) for name, does in page.variables]))


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> Iterator[str]:
    yield f"| {head[0]} | {head[1]} |"
    yield "|---|---|"
    yield from (f"| {first.replace('|', '&#124;')} | {second} |" for first, second in rows)
