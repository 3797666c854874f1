"""Requests about the words of texts and about the files that analyzers read, and their results."""

from __future__ import annotations

from redkite.model.request import Request
from redkite.model.results import Result


class RunAnalyzer(Request, frozen=True):
    """-> AnalyzedTexts. With the analyzer that `params` describe (JSON; none: `standard`), or that of a field."""

    texts: tuple[str, ...]
    params: str = ""
    collection: str = ""
    field: str = ""
    analyzer_names: tuple[str, ...] = ()
    """For a field with several analyzers: one name for all texts, or one for each."""
    with_detail: bool = False
    with_hash: bool = False


class AnalyzedText(Result, frozen=True):
    """The words of one text. What was not asked for is empty."""

    tokens: tuple[str, ...]
    begins: tuple[int, ...] = ()
    """Characters of the text; so are `ends`."""
    ends: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    """In positions."""
    hashes: tuple[int, ...] = ()


class AnalyzedTexts(Result, frozen=True):
    texts: tuple[AnalyzedText, ...]


class ComputePhraseMatchSlop(Request, frozen=True):
    """-> PhraseSlops: how far the words of a phrase must move to be found in each of some texts."""

    query: str
    texts: tuple[str, ...]
    params: str = ""


class PhraseSlops(Result, frozen=True):
    matches: tuple[bool, ...]
    """Whether all words of the phrase are there."""
    slops: tuple[int, ...]
    """The least slop with which the phrase is found; -1 where it is not."""


class AddFileResource(Request, frozen=True):
    """-> Done. Takes a copy of the file at `path`, where the database runs; a relative path begins at its folder."""

    name: str
    path: str


class RemoveFileResource(Request, frozen=True):
    """-> Done. Missing is success. Collections keep what they have read."""

    name: str


class ListFileResources(Request, frozen=True):
    """-> FileResources."""


class FileResource(Result, frozen=True):
    name: str
    path: str
    resource_id: int = 0


class FileResources(Result, frozen=True):
    resources: tuple[FileResource, ...]
    """By name."""
