"""The words of texts, and the files that analyzers read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redkite.errors import InvalidParameter
from redkite.model import analysis as an
from redkite.wire.codec import Codec, codec, command, question


# -- words --------------------------------------------------------------------------------------
def _decode_run(message: Any, database: str) -> an.RunAnalyzer:
    return an.RunAnalyzer(
        database=database,
        texts=_texts(message.placeholder),
        params=message.analyzer_params,
        collection=message.collection_name,
        field=message.field_name,
        analyzer_names=tuple(message.analyzer_names),
        with_detail=message.with_detail,
        with_hash=message.with_hash,
    )


def _texts(pieces: Iterable[bytes]) -> tuple[str, ...]:
    texts = []
    for place, piece in enumerate(pieces):
        try:
            texts.append(piece.decode())
        except UnicodeDecodeError as error:
            raise InvalidParameter(f"text {place} is not valid UTF-8: {error.reason} at byte {error.start}") from None
    return tuple(texts)


def _pack_run(message: Any, request: an.RunAnalyzer) -> None:
    message.placeholder.extend(text.encode() for text in request.texts)
    message.analyzer_params = request.params
    message.collection_name = request.collection
    message.field_name = request.field
    message.analyzer_names.extend(request.analyzer_names)
    message.with_detail = request.with_detail
    message.with_hash = request.with_hash


def _encode_texts(message: Any, result: an.AnalyzedTexts) -> None:
    for text in result.texts:
        tokens = message.results.add().tokens
        for place, word in enumerate(text.tokens):
            token = tokens.add(token=word)
            if text.begins:
                token.start_offset, token.end_offset = text.begins[place], text.ends[place]
                token.position, token.position_length = text.positions[place], text.lengths[place]
            if text.hashes:
                token.hash = text.hashes[place]


def _unpack_texts(message: Any) -> an.AnalyzedTexts:
    return an.AnalyzedTexts(texts=tuple(_unpack_text(text.tokens) for text in message.results))


def _unpack_text(tokens: Any) -> an.AnalyzedText:
    return an.AnalyzedText(
        tokens=tuple(token.token for token in tokens),
        begins=tuple(token.start_offset for token in tokens),
        ends=tuple(token.end_offset for token in tokens),
        positions=tuple(token.position for token in tokens),
        lengths=tuple(token.position_length for token in tokens),
        hashes=tuple(token.hash for token in tokens),
    )


def _encode_slops(message: Any, result: an.PhraseSlops) -> None:
    message.is_match.extend(result.matches)
    message.slops.extend(result.slops)


def _unpack_slops(message: Any) -> an.PhraseSlops:
    return an.PhraseSlops(matches=tuple(message.is_match), slops=tuple(message.slops))


# -- files --------------------------------------------------------------------------------------
def _encode_files(message: Any, result: an.FileResources) -> None:
    for found in result.resources:
        message.resources.add(id=found.resource_id, name=found.name, path=found.path)


def _unpack_files(message: Any) -> an.FileResources:
    return an.FileResources(
        resources=tuple(
            an.FileResource(name=found.name, path=found.path, resource_id=found.id) for found in message.resources
        )
    )


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "RunAnalyzer", an.RunAnalyzer, an.AnalyzedTexts, decode=_decode_run, pack=_pack_run,
        encode=_encode_texts, unpack=_unpack_texts,
    ),
    question(
        "ComputePhraseMatchSlop", an.ComputePhraseMatchSlop, an.PhraseSlops,
        {"query": "query_text", "params": "analyzer_params"}, {"texts": "data_texts"},
        encode=_encode_slops, unpack=_unpack_slops,
    ),
    command("AddFileResource", an.AddFileResource, {"name": "name", "path": "path"}),
    command("RemoveFileResource", an.RemoveFileResource, {"name": "name"}),
    question(
        "ListFileResources", an.ListFileResources, an.FileResources, encode=_encode_files, unpack=_unpack_files,
    ),
)  # fmt: skip
