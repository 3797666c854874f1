"""Requests about the words of texts and the files that analyzers read."""

from __future__ import annotations

from itertools import pairwise

from redkite.errors import FieldNotFound, InvalidParameter
from redkite.model import analysis as an
from redkite.model.results import Done
from redkite.model.rules.text_rules import enables_analyzer
from redkite.model.schema import FieldSchema
from redkite.node.topology import Topology
from redkite.text.slop import least_slops
from redkite.text.specs import analyzer_of, field_analyzer, field_analyzers
from redkite.text.tokens import Tokens

Numbers = tuple[int, ...]


class Analysis:
    """Each method answers one request class."""

    def __init__(self, topology: Topology) -> None:
        self._root = topology.root
        self._files = topology.files

    def run(self, request: an.RunAnalyzer) -> an.AnalyzedTexts:
        tokens = self._tokens(request)
        return an.AnalyzedTexts(texts=_texts(tokens, detail=request.with_detail, hashed=request.with_hash))

    def _tokens(self, request: an.RunAnalyzer) -> Tokens:
        if request.collection or request.field:
            return self._of_field(request)
        if request.analyzer_names:
            raise InvalidParameter("analyzer_names are for a field that has several analyzers")
        return analyzer_of(request.params, self._files).analyze(request.texts)

    def _of_field(self, request: an.RunAnalyzer) -> Tokens:
        if request.params:
            raise InvalidParameter("either analyzer_params or a collection and a field are to be given, not both")
        if not request.collection or not request.field:
            raise InvalidParameter("both collection_name and field_name are to be given")
        meta = self._root.find(request.database, request.collection)
        field = meta.schema.field(request.field)
        if field is None:
            raise FieldNotFound(f"field not found[field={request.field}]")
        if not enables_analyzer(field):
            raise InvalidParameter(f"can't run analyzer on field {field.name} which not enable analyzer")
        return _by_names(field, request)

    def slops(self, request: an.ComputePhraseMatchSlop) -> an.PhraseSlops:
        analyzer = analyzer_of(request.params, self._files)
        slops = least_slops(analyzer.analyze([request.query]), analyzer.analyze(request.texts))
        return an.PhraseSlops(matches=tuple(slop >= 0 for slop in slops), slops=tuple(slops))

    # -- files ----------------------------------------------------------------------------------
    def add_file(self, request: an.AddFileResource) -> Done:
        self._files.add(request.name, request.path)
        return Done()

    def remove_file(self, request: an.RemoveFileResource) -> Done:
        self._files.remove(request.name)
        return Done()

    def files(self, _: an.ListFileResources) -> an.FileResources:
        return an.FileResources(
            resources=tuple(
                an.FileResource(name=meta.name, path=meta.path, resource_id=meta.resource_id)
                for meta in self._files.all()
            )
        )


def _by_names(field: FieldSchema, request: an.RunAnalyzer) -> Tokens:
    texts, names = request.texts, request.analyzer_names
    several = field_analyzers(field)
    if several is None:
        if names:
            raise InvalidParameter(f"field {field.name} has one analyzer, analyzer_names are for one that has several")
        return field_analyzer(field).analyze(texts)
    if len(names) not in (0, 1, len(texts)):
        raise InvalidParameter(f"{len(names)} analyzer_names for {len(texts)} texts: give one, or one for each")
    for name in names:
        if name not in several.names:
            known = ", ".join(sorted(several.names))
            raise InvalidParameter(f"field {field.name} has no analyzer named {name}, it has {known}")
    chosen: list[str | None] = list(names) if len(names) == len(texts) else [next(iter(names), None)] * len(texts)
    return several.analyze(texts, chosen)


def _texts(tokens: Tokens, *, detail: bool, hashed: bool) -> tuple[an.AnalyzedText, ...]:
    vocabulary = tokens.vocabulary
    words = tuple(vocabulary[code] for code in tokens.codes.tolist())
    begins: Numbers = ()
    ends: Numbers = ()
    positions: Numbers = ()
    lengths: Numbers = ()
    hashes: Numbers = ()
    if detail:
        begins, ends = tuple(tokens.begins.tolist()), tuple(tokens.ends.tolist())
        positions = tuple(tokens.positions.tolist())
        lengths = (1,) * len(words) if tokens.lengths is None else tuple(tokens.lengths.tolist())
    if hashed:
        hashes = tuple(tokens.hashes()[tokens.codes].tolist())
    starts = tokens.starts.tolist()
    return tuple(
        an.AnalyzedText(
            tokens=words[i:j], begins=begins[i:j], ends=ends[i:j], positions=positions[i:j], lengths=lengths[i:j],
            hashes=hashes[i:j],
        )
        for i, j in pairwise(starts)
    )  # fmt: skip
