"""Types that several threads decode for the first time at once."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from redkite.model.decoding import from_json, from_msgpack

MANY = """
import sys
import threading

import msgspec

from redkite.model.decoding import from_json, from_msgpack

sys.setswitchinterval(1e-6)
CLASS = '''
class Inner{0}(msgspec.Struct, frozen=True, kw_only=True):
    a: int
    b: tuple[str, ...] = ()

class Outer{0}(msgspec.Struct, frozen=True, kw_only=True):
    x: int
    z: tuple[Inner{0}, ...] = ()
    w: dict[str, str] = {{}}
'''
value = {"x": 1, "z": [{"a": 1, "b": ["q"]}], "w": {"k": "v"}}
packed, text = msgspec.msgpack.encode(value), msgspec.json.encode(value)
for number in range(200):
    exec(CLASS.format(number))
    kind, ready = globals()[f"Outer{number}"], threading.Barrier(4)

    def read(function, data):
        ready.wait()
        assert function(data, kind).z[0].b == ("q",)

    threads = [threading.Thread(target=read, args=each) for each in [(from_msgpack, packed), (from_json, text)] * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


class Pair(msgspec.Struct, frozen=True):
    x: int


@pytest.mark.parametrize(
    ("decode", "encode"), [(from_json, msgspec.json.encode), (from_msgpack, msgspec.msgpack.encode)]
)
def test_a_struct_is_read_and_what_is_none_is_told(decode, encode):
    assert decode(encode(Pair(3)), Pair) == Pair(3)
    assert decode(encode([Pair(3)]), list[Pair]) == [Pair(3)]
    with pytest.raises(msgspec.DecodeError):
        decode(encode({"x": "text"}), Pair)


def test_many_threads_that_read_a_type_for_the_first_time_do_not_crash():
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
