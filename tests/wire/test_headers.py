"""Header blocks: the examples of RFC 7541, broken blocks, and literals."""

from __future__ import annotations

import contextlib

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.wire.headers import MAX_LIST_SIZE, HeaderError, HeaderReader, literal

known = st.sampled_from([b":path", b":method", b"te", b"authorization", b"dbname", b"x-1"])
names = known | st.binary(min_size=1, max_size=20)
Headers = list[tuple[bytes, bytes]]
headers = st.lists(st.tuples(names, st.binary(max_size=200)), max_size=12)


def test_the_requests_of_the_rfc_are_decoded_with_one_growing_table() -> None:
    reader = HeaderReader()
    first = reader.read(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"))
    second = reader.read(bytes.fromhex("828684be5886a8eb10649cbf"))
    third = reader.read(bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"))
    common = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
    assert first == common
    assert second == [*common, (b"cache-control", b"no-cache")]
    assert third == [
        (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ]  # fmt: skip


@given(st.lists(st.tuples(headers, st.booleans(), st.sampled_from([4096, 200, 0])), max_size=8))
def test_what_another_implementation_encodes_comes_back(blocks: list[tuple[Headers, bool, int]]) -> None:
    encoder, reader = hpack.Encoder(), HeaderReader()
    for wanted, huffman, size in blocks:
        encoder.header_table_size = size
        assert reader.read(encoder.encode(wanted, huffman=huffman)) == wanted


@given(
    st.lists(st.tuples(headers, st.booleans(), st.sampled_from([4096, 100, 0])), min_size=1, max_size=5),
    st.integers(0, 4), st.integers(0, 400), st.binary(max_size=3),
)  # fmt: skip
def test_blocks_of_which_one_is_damaged_are_read_as_the_library_reads_them(
    blocks: list[tuple[Headers, bool, int]], damaged: int, place: int, bytes_there: bytes
) -> None:
    encoder, library, reader = hpack.Encoder(), hpack.Decoder(max_header_list_size=MAX_LIST_SIZE), HeaderReader()
    for number, (wanted, huffman, size) in enumerate(blocks):
        encoder.header_table_size = size
        block = encoder.encode(wanted, huffman=huffman)
        if number == damaged:
            block = block[:place] + bytes_there + block[place + 1 :]
        try:
            expected = library.decode(block, raw=True)
        except (hpack.HPACKError, IndexError):
            with pytest.raises(HeaderError):
                reader.read(block)
            return
        assert reader.read(block) == expected


def test_what_does_not_fit_the_table_is_forgotten_oldest_first() -> None:
    reader = HeaderReader()
    entry = [b"\x40" + literal(b"name-%d" % number, b"v" * 1_500)[1:] for number in range(3)]
    assert len(reader.read(b"".join(entry))) == 3
    assert [name for name, _ in reader.read(b"\xbe\xbf")] == [b"name-2", b"name-1"]
    with pytest.raises(HeaderError):
        reader.read(b"\xc0")


def test_blocks_that_begin_alike_are_read_by_the_table_as_it_is_by_then() -> None:
    reader = HeaderReader()
    said = literal(b"said", b"again")
    reader.read(b"\x40" + literal(b"name", b"old")[1:])
    for _ in range(3):
        assert reader.read(b"\x83\xbe" + said) == [(b":method", b"POST"), (b"name", b"old"), (b"said", b"again")]
    reader.read(b"\x83\xbe\x40" + literal(b"name", b"new")[1:])
    for _ in range(3):
        assert reader.read(b"\x83\xbe" + said) == [(b":method", b"POST"), (b"name", b"new"), (b"said", b"again")]
    reader.read(b"\x20")  # the client wants no table any more
    with pytest.raises(HeaderError):
        reader.read(b"\x83\xbe" + said)


def test_known_entries_and_what_is_spelled_behind_them_unfold_to_no_more_than_the_limit() -> None:
    reader = HeaderReader()
    reader.read(b"\x40" + literal(b"n", b"v" * 2_000)[1:])
    spelled = literal(b"", b"") * 300
    assert len(reader.read(b"\xbe" * 2 + spelled)) == 302
    for _ in range(2):
        with pytest.raises(HeaderError):
            reader.read(b"\xbe" * 4 + spelled)


@given(headers, st.binary(max_size=4))
def test_spelled_out_headers_are_read_as_the_library_reads_them(wanted: Headers, rest: bytes) -> None:
    block = b"".join(literal(*header) for header in wanted) + rest
    try:
        expected = hpack.Decoder().decode(block, raw=True)
    except hpack.HPACKError:
        with pytest.raises(HeaderError):
            HeaderReader().read(block)
    else:
        assert HeaderReader().read(block) == expected


@given(st.binary(max_size=120))
def test_any_bytes_are_decoded_or_refused(block: bytes) -> None:
    with contextlib.suppress(HeaderError):
        HeaderReader().read(block)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xbe",
        b"\x40\x05ab",
        b"\x3f\xff\xff\xff\xff\xff\xff",
        b"\x3f\xe2\x1f",
        b"\x00\x01a\x84\xff\xff\xff\xff",
    ],
)
def test_a_broken_block_is_refused(block: bytes) -> None:
    with pytest.raises(HeaderError):
        HeaderReader().read(block)


def test_a_small_block_that_unfolds_to_too_much_is_refused() -> None:
    entry = b"\x40" + literal(b"n" * 10, b"v" * 3_000)[1:]
    with pytest.raises(HeaderError):
        HeaderReader().read(entry + b"\xbe" * (MAX_LIST_SIZE // 3_000 + 1))


@given(st.binary(min_size=1, max_size=400), st.binary(max_size=40_000 // 100))
def test_a_literal_is_read_back_by_another_implementation(name: bytes, value: bytes) -> None:
    assert hpack.Decoder().decode(literal(name, value), raw=True) == [(name, value)]
