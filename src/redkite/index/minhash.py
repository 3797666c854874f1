"""MINHASH_LSH: rows whose MinHash signatures share a band with the query's, found by hashes of the bands.

A signature is cut into bands of as many elements. Two signatures share a band when all of its elements are equal, which
is the more likely the more alike they are. Each band has its hashes in ascending order and the rows they are of.

Stored, little endian: a header of 64 bytes (magic, version, then rows and bands as int64), the hashes (bands, rows)
uint64, and the rows (bands, rows) uint32 at the next multiple of 64.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.env import Buffer
from redkite.errors import StorageError
from redkite.index.base import NO_ROW, Bitmap, RowNumbers, Scores, SearchParams, VectorColumn
from redkite.index.binary import BinaryColumn, Bits, Signature
from redkite.index.building import Build, whole
from redkite.model.segments import IndexSpec
from redkite.model.types import Metric

MAGIC = b"RKMINHSH"
VERSION = 1
ALIGNMENT = 64
FALSE_POSITIVES = 0.01
_HEADER = struct.Struct("<8sq2q")
Hashes = npt.NDArray[np.uint64]


class BandFilter:
    """Tells most hashes that a band does not have from those it has, in a few bits for each (Bloom, 1970)."""

    def __init__(self, hashes: Hashes, false_positives: float) -> None:
        """`false_positives`: the part of the missing hashes that pass."""
        bits = math.ceil(-max(1, len(hashes)) * math.log(false_positives) / math.log(2) ** 2)
        self._bits = max(64, bits)
        self._probes = max(1, round(-math.log2(false_positives)))
        flags = np.zeros(self._bits, np.bool_)
        flags[self._places(hashes)] = True
        self._packed = np.packbits(flags, bitorder="little")

    @property
    def nbytes(self) -> int:
        return self._packed.nbytes

    def may_have(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """False: certainly not there."""
        places = self._places(hashes)
        found: npt.NDArray[np.bool_] = ((self._packed[places >> 3] >> (places & 7).astype(np.uint8)) & 1).all(axis=0)
        return found

    def _places(self, hashes: Hashes) -> RowNumbers:
        """(probes, hashes) bits that stand for each."""
        step = (hashes >> np.uint64(33)) | np.uint64(1)
        probes = np.arange(self._probes, dtype=np.uint64)[:, None]
        return ((hashes + probes * step) % np.uint64(self._bits)).astype(np.int64)


class MinHashIndex:
    """`search` takes `mh_search_with_jaccard`, `refine_k` and `mh_lsh_batch_search` from params.

    A row that shares no band with the query is no answer to it, whether there is an index or not; so short answers are
    whole ones.
    """

    approximate = False
    takes_bitmap = True

    def __init__(
        self, signature: Signature, hashes: Hashes, rows: npt.NDArray[np.uint32], false_positives: float
    ) -> None:
        """`hashes` (bands, rows), each band's ascending; `rows` the row each is of."""
        self.metric = Metric.MHJACCARD
        self.rows = int(hashes.shape[1])
        self._signature = signature
        self._hashes = hashes
        self._rows = rows
        self.filters = [BandFilter(band, false_positives) for band in hashes]

    def search(self, queries: Bits, k: int, params: SearchParams, allowed: Bitmap | None) -> tuple[Scores, RowNumbers]:
        compared = bool(params.get("mh_search_with_jaccard", False))
        wide = max(k, whole(params, "refine_k", k)) if compared else k
        step = len(queries) if params.get("mh_lsh_batch_search") else 1
        scores = np.zeros((len(queries), wide), np.float32)
        rows = np.full((len(queries), wide), NO_ROW, np.int64)
        for start in range(0, len(queries), max(1, step)):
            some = np.ascontiguousarray(queries[start : start + step])
            for at, sharing in enumerate(self._sharing(some), start):
                found = sharing
                if allowed is not None:
                    found = sharing[(allowed[sharing >> 3] >> (sharing & 7).astype(np.uint8)) & 1 != 0]
                chosen, bands = _most_shared(found, wide) if compared else _first_found(found, wide)
                rows[at, : len(chosen)], scores[at, : len(chosen)] = chosen, bands
        return scores, rows

    def _sharing(self, queries: Bits) -> list[RowNumbers]:
        """For each query the rows that share a band with it, band after band; a row as often as it shares one."""
        found: list[list[RowNumbers]] = [[] for _ in range(len(queries))]
        for band, (hashes, rows) in enumerate(zip(self._hashes, self._rows, strict=True)):
            asked = band_hashes(queries, self._signature, band)
            hopeful = np.flatnonzero(self.filters[band].may_have(asked))
            starts = np.searchsorted(hashes, asked[hopeful], "left")
            ends = np.searchsorted(hashes, asked[hopeful], "right")
            for at, start, end in zip(hopeful.tolist(), starts.tolist(), ends.tolist(), strict=True):
                if end > start:
                    found[at].append(np.sort(rows[start:end]).astype(np.int64))
        return [np.concatenate(some) if some else np.empty(0, np.int64) for some in found]

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        return {**params, "refine_k": int(max(k, whole(params, "refine_k", k)) * factor)}

    def memory(self) -> int:
        return self._hashes.nbytes + self._rows.nbytes + sum(held.nbytes for held in self.filters)


def signature_of(spec: IndexSpec) -> Signature:
    """What an index says its vectors are."""
    return Signature(whole(spec.build, "mh_element_bit_width", 8), whole(spec.build, "mh_lsh_band", 1))


def as_signatures(column: VectorColumn, metric: Metric, params: SearchParams) -> VectorColumn:
    """A column of a field that is searched by MHJACCARD, its rows taken as the index says; others as they are."""
    if metric is not Metric.MHJACCARD or not isinstance(column, BinaryColumn):
        return column
    return column.signed(Signature(whole(params, "mh_element_bit_width", 8), whole(params, "mh_lsh_band", 1)))


def band_hashes(signatures: Bits, signature: Signature, band: int) -> Hashes:
    """A hash of one band of each signature."""
    from redkite.index.binary_kernels import hash_bands

    size = signature.band_elements(signatures.shape[1]) * signature.element
    out = np.empty(len(signatures), np.uint64)
    hash_bands(signatures, band * size, size, band, out)
    return out


def build_minhash(build: Build) -> memoryview:
    """The hashes of every band of all rows, as they are stored."""
    signature = signature_of(build.spec)
    matrix = np.ascontiguousarray(build.binary.matrix)
    hashes = np.empty((signature.bands, build.rows), np.uint64)
    rows = np.empty((signature.bands, build.rows), np.uint32)
    for band in range(signature.bands):
        build.check()
        found = band_hashes(matrix, signature, band)
        order = np.argsort(found, kind="stable")
        hashes[band], rows[band] = found[order], order
    data = bytearray(_HEADER.pack(MAGIC, VERSION, build.rows, signature.bands).ljust(ALIGNMENT, b"\0"))
    data += hashes.view(np.uint8).data
    data += b"\0" * (-hashes.nbytes % ALIGNMENT)
    data += rows.view(np.uint8).data
    return memoryview(data)


def open_minhash(spec: IndexSpec, data: Buffer) -> MinHashIndex:
    """A stored index: its hashes stay where `data` is, or are copied when the index asks for them in memory."""
    view = memoryview(data)
    if len(view) < ALIGNMENT:
        raise StorageError("a MinHash index is cut off")
    magic, version, count, bands = _HEADER.unpack_from(view)
    if magic != MAGIC or version != VERSION:
        raise StorageError(f"this is no MinHash index of version {VERSION}: {magic!r}, version {version}")
    behind = ALIGNMENT + 8 * bands * count
    behind += -behind % ALIGNMENT
    if behind + 4 * bands * count > len(view):
        raise StorageError("a MinHash index is cut off")
    hashes = np.frombuffer(view, np.uint64, bands * count, ALIGNMENT).reshape(bands, count)
    rows = np.frombuffer(view, np.uint32, bands * count, behind).reshape(bands, count)
    if spec.build.get("mh_lsh_code_in_mem"):
        hashes, rows = hashes.copy(), rows.copy()
    wrong: Any = spec.build.get("mh_lsh_bloom_false_positive_prob", FALSE_POSITIVES)
    return MinHashIndex(signature_of(spec), hashes, rows, float(wrong))


def build_bytes(spec: IndexSpec, rows: int, width: int) -> int:  # noqa: ARG001  hashes have one size
    """Hashes and row numbers of every band, and all of it again as bytes."""
    return rows * (2 * 12 * whole(spec.build, "mh_lsh_band", 1) + 32)


def _most_shared(found: RowNumbers, most: int) -> tuple[RowNumbers, RowNumbers]:
    """Distinct rows, those that share the most bands first, and in how many."""
    rows, bands = np.unique(found, return_counts=True)
    order = np.argsort(-bands, kind="stable")[:most]
    return rows[order], bands[order]


def _first_found(found: RowNumbers, most: int) -> tuple[RowNumbers, RowNumbers]:
    """Distinct rows in the order they were found in, and 1 for each."""
    rows, places = np.unique(found, return_index=True)
    chosen = rows[np.argsort(places)[:most]]
    return chosen, np.ones(len(chosen), np.int64)
