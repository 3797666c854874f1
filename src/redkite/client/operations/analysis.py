"""The words of texts, and the files that analyzers read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redkite.client import arguments
from redkite.client.session import Operation, Session, ask
from redkite.client.texts import text as as_text
from redkite.errors import ParamError
from redkite.model import analysis as an
from redkite.model.results import Done


class AnalyzeToken(dict[str, Any]):
    """One word of a text: `token`, with details `start_offset` and `end_offset` (characters), `position` and
    `position_length`, and its `hash`, as far as they were asked for. Keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None


class AnalyzeResult(list[Any]):
    """The words of one text: a list of `str`, or of `AnalyzeToken` when details or hashes were asked for."""

    @property
    def tokens(self) -> list[Any]:
        """The words as a plain list."""
        return list(self)


@dataclass(frozen=True, slots=True)
class FileResourceInfo:
    """A file that analyzers may name."""

    name: str
    path: str


def run_analyzer(
    session: Session,
    texts: str | Sequence[str],
    analyzer_params: str | Mapping[str, Any] | None,
    with_hash: bool,
    with_detail: bool,
    collection_name: str | None,
    field_name: str | None,
    analyzer_names: str | Sequence[str] | None,
) -> Operation[AnalyzeResult | list[AnalyzeResult]]:
    """What the words of texts are; one result for one text, a list for several."""
    request = an.RunAnalyzer(
        database=session.database,
        texts=_texts(texts),
        params=as_text(analyzer_params or ""),
        collection=arguments.optional_name("collection_name", collection_name),
        field=arguments.optional_name("field_name", field_name),
        analyzer_names=() if analyzer_names is None else arguments.names("analyzer_names", analyzer_names),
        with_detail=arguments.flag("with_detail", with_detail),
        with_hash=arguments.flag("with_hash", with_hash),
    )
    found = yield from ask(request, an.AnalyzedTexts)
    results = [_result(one, detail=with_detail, hashed=with_hash) for one in found.texts]
    return results[0] if isinstance(texts, str) else results


def _texts(texts: object) -> tuple[str, ...]:
    found = (texts,) if isinstance(texts, str) else tuple(texts) if isinstance(texts, Sequence) else None
    if found is None or not all(isinstance(one, str) for one in found):
        raise ParamError(f"texts are a str or a list of str, but got {type(texts).__name__}")
    for place, one in enumerate(found):
        try:
            one.encode()
        except UnicodeEncodeError as error:
            raise ParamError(f"text {place} is not valid Unicode: {error.reason} at {error.start}") from None
    return found


def _result(found: an.AnalyzedText, *, detail: bool, hashed: bool) -> AnalyzeResult:
    if not detail and not hashed:
        return AnalyzeResult(found.tokens)
    columns: dict[str, tuple[Any, ...]] = {"token": found.tokens}
    if detail:
        columns |= {
            "start_offset": found.begins, "end_offset": found.ends, "position": found.positions,
            "position_length": found.lengths,
        }  # fmt: skip
    if hashed:
        columns["hash"] = found.hashes
    return AnalyzeResult(
        AnalyzeToken(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    )


# -- files --------------------------------------------------------------------------------------
def add_file_resource(session: Session, name: str, path: str) -> Operation[None]:
    """Register a copy of a file under a name."""
    request = an.AddFileResource(
        database=session.database, name=arguments.name("name", name), path=arguments.name("path", path)
    )
    yield from ask(request, Done)


def remove_file_resource(session: Session, name: str) -> Operation[None]:
    """Forget a file. Missing is no error."""
    yield from ask(an.RemoveFileResource(database=session.database, name=arguments.name("name", name)), Done)


def list_file_resources(session: Session) -> Operation[list[FileResourceInfo]]:
    """The files there are, by name."""
    found = yield from ask(an.ListFileResources(database=session.database), an.FileResources)
    return [FileResourceInfo(name=one.name, path=one.path) for one in found.resources]
