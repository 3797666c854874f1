"""`membership_match`: sets that come as bytes, and the builders that make them."""

from scenarios.filters import filled
from scenarios.registry import scenario


@scenario("sdk", "redkite")
def sets_as_bytes(s):
    """The bytes are noted, so that the builders of every client are compared, too."""
    builders = [
        ("build_roaring_bitmap", ([5, 10, -7, 2**40],), {}), ("build_roaring_bitmap", ([],), {}),
        ("build_bloom_filter", ([1, 3],), {"fpr": 0.0001}), ("build_bloom_filter", (["apple", ""],), {"fpr": 0.0001}),
        ("build_bloom_filter", ([1.5],), {}), ("build_roaring_bitmap", (["a"],), {}),
        ("build_roaring_bitmap", ([2**63],), {}), ("build_bloom_filter", ([1],), {"fpr": 0.9}),
    ]  # fmt: skip
    for method, given, options in builders:
        s.do(f"{method}: {given[0]} {options}", lambda m=method, g=given, o=options: getattr(s.kit, m)(*g, **o))


@scenario("sdk", "redkite")
def filters_with_sets_as_bytes(s):
    """Clients that are older than the builders cannot send the bytes either."""
    exact, likely = s.kit.build_roaring_bitmap, s.kit.build_bloom_filter
    sets = {
        "exact": exact([5, 10, -7, 2**40]), "none": exact([]), "broken": exact([5, 10, -7, 2**40])[:-3],
        "words": likely(["apple", "abc", ""], fpr=0.0001), "numbers": likely([1, 3], fpr=0.0001),
        "strange": b"anything", "text": "apple", "list": [5, 10],
    }  # fmt: skip
    name = filled(s)
    cases = [
        ("membership_match(n, {x})", "exact"), ("not membership_match(n, {x})", "exact"),
        ("membership_match(n, {x}, type=roaring)", "exact"), ("membership_match(n, {x}, type=bloom)", "exact"),
        ("membership_match(i8, {x})", "exact"), ("membership_match(n, {x}) and b == true", "exact"),
        ("MEMBERSHIP_MATCH(n, {x})", "exact"), ("membership_match(n, {x})", "none"),
        ("membership_match(w, {x})", "words"), ("membership_match(w, {x}, type=bloom)", "words"),
        ("membership_match(j['s'], {x})", "words"), ("membership_match(id, {x})", "numbers"),
        ("membership_match(j['n'], {x})", "numbers"), ("membership_match(w, {x})", "exact"),
        ("membership_match(j['n'], {x})", "exact"), ("membership_match(f, {x})", "exact"),
        ("membership_match(b, {x})", "exact"), ("membership_match(a, {x})", "exact"),
        ("membership_match(a[0], {x})", "exact"), ("membership_match(v, {x})", "exact"),
        ("membership_match(nosuch, {x})", "exact"), ("membership_match(n, {x})", "broken"),
        ("membership_match(n, {x})", "strange"), ("membership_match(n, {x})", "text"),
        ("membership_match(n, {x})", "list"), ("membership_match(n, {x}, type=other)", "exact"),
        ("membership_match(n, {y})", "exact"), ("membership_match(n, [5, 10])", "exact"),
        ("membership_match(n)", "exact"), ("n in {x}", "exact"), ("n == {x}", "exact"),
    ]  # fmt: skip
    for text, given in cases:
        s.call("query", name, filter=text, filter_params={"x": sets[given]}, output_fields=["id"],
               _note=f"{text} with {given}")  # fmt: skip
    s.call("search", name, data=[[5, 0]], limit=3, filter="membership_match(n, {x})",
           filter_params={"x": sets["exact"]})  # fmt: skip
    s.call("delete", name, filter="membership_match(id, {x})", filter_params={"x": sets["numbers"]}, _note="likely")
    s.call("delete", name, filter="membership_match(n, {x})", filter_params={"x": sets["exact"]}, _note="exact")
    s.call("query", name, filter="", output_fields=["id"], limit=9, _note="what is left")
