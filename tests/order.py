"""The order in which test modules begin when several processes share them: what takes long does not begin last."""

from __future__ import annotations

from collections import Counter

import pytest

LONGEST = (
    "acceptance/test_connections", "simulation/test_simulation", "acceptance/test_durability", "index/test_recall",
    "congruence/test_congruence", "server/test_replication", "proof/test_kills", "server/test_access",
    "node/test_memory", "index/test_lists", "dropin/test_dropin", "client/test_hygiene", "test_cli",
    "proof/test_crash_points", "query/test_recall_watch", "index/test_bm25", "acceptance/test_text_match",
    "query/test_execute", "cluster/test_crashes", "query/test_nearby", "node/test_sealing", "acceptance/test_vectors",
    "acceptance/test_iterators", "acceptance/test_sparse", "test_docs", "acceptance/test_async",
    "cluster/test_compaction_crashes", "integrity/test_bit_flips", "acceptance/test_indexes",
    "acceptance/test_structs", "acceptance/test_imports", "server/test_fleet", "demo/test_corpus", "server/test_main",
    "proxy/test_words_corpus", "wire/test_columns", "typing/test_typing", "migration/test_promote",
    "server/test_matrix", "wire/test_methods", "cluster/test_evolution_stress", "proof/test_machine",
    "acceptance/test_stress", "server/test_feed_kills", "cluster/test_grpc_network", "acceptance/test_import_kills",
    "server/test_rest_conventions", "server/test_doors", "index/test_paging",
)  # fmt: skip
"""The modules of more than some eight seconds, those of half a minute first: the time of all their tests together."""


def arrange(items: list[pytest.Item]) -> None:
    """Sort tests by their modules: the longest, then those with most tests. Tests of one module stay as they are."""
    rank = {f"tests/{module}.py": number for number, module in enumerate(LONGEST)}
    tests = Counter(item.location[0] for item in items)
    items.sort(key=lambda item: (rank.get(item.location[0], len(rank)), -tests[item.location[0]], item.location[0]))
