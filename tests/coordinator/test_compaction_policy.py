"""What is merged, and when it pays."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.coordinator.compaction import (
    CUT_OFF,
    GONE,
    NOTHING_TO_DO,
    CompactionCoordinator,
    CompactionPolicy,
    merges,
)
from redkite.coordinator.jobs import KEPT_JOBS, JobRecords
from redkite.model.segments import SegmentMeta
from redkite.model.upkeep import CompactionKind, PlanState
from redkite.storage.catalog import Catalog, MemoryCatalog

POLICY = CompactionPolicy(rows=1000, bytes=1_000_000)


def segment(
    number: int, rows: int, *, size: int = 0, partition: int = 1, level: int = 1, channel: str = "c"
) -> SegmentMeta:
    return SegmentMeta(
        segment_id=number, collection_id=7, partition_id=partition, channel=channel, rows=rows, size=size or rows * 10,
        rows_object=f"{number}", rows_crc=0, min_timestamp=number, max_timestamp=number, level=level,
    )  # fmt: skip


def ids(groups: list[tuple[SegmentMeta, ...]]) -> list[list[int]]:
    return [[s.segment_id for s in group] for group in groups]


def test_asked_for_all_small_segments_are_merged_into_as_few_as_fit() -> None:
    found = merges([segment(n, 300) for n in range(1, 8)], POLICY, eager=True)
    assert ids(found) == [[1, 2, 3], [4, 5, 6]]


def test_large_segments_and_those_split_by_a_key_are_left_alone() -> None:
    some = [segment(1, 500), segment(2, 100, size=600_000), segment(3, 10, level=2), segment(4, 10, level=2)]
    assert merges(some, POLICY, eager=True) == []


def test_partitions_and_channels_are_never_mixed() -> None:
    some = [segment(1, 10), segment(2, 10, partition=2), segment(3, 10, channel="d"), segment(4, 10)]
    assert ids(merges(some, POLICY, eager=True)) == [[1, 4]]


def test_by_itself_few_small_segments_wait_for_more() -> None:
    assert merges([segment(n, 10) for n in range(3)], POLICY, eager=False) == []
    assert ids(merges([segment(n, 10) for n in range(4)], POLICY, eager=False)) == [[0, 1, 2, 3]]


def test_by_itself_segments_that_fill_a_new_one_are_merged_at_once() -> None:
    assert ids(merges([segment(1, 450), segment(2, 450)], POLICY, eager=False)) == [[1, 2]]


def test_a_segment_larger_than_the_others_together_is_not_written_again_for_them() -> None:
    some = [segment(0, 400), *(segment(n, 10) for n in range(1, 6))]
    assert ids(merges(some, POLICY, eager=False)) == [[1, 2, 3, 4, 5]]


@settings(max_examples=50, deadline=None)
@given(st.integers(20, 200), st.integers(1, 40))
def test_every_row_is_written_anew_only_a_few_times(flushes: int, rows: int) -> None:
    held: list[SegmentMeta] = []
    written = 0
    for number in range(flushes):
        held.append(segment(number, rows))
        for group in merges(held, POLICY, eager=False):
            total = sum(s.rows for s in group)
            written += total
            assert total <= POLICY.rows
            held = [s for s in held if s not in group] + [segment(number, total)]
    assert written <= flushes * rows * 6
    assert sum(s.rows for s in held) == flushes * rows


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 1200), st.integers(1, 3), st.booleans()), max_size=30), st.booleans())
def test_no_merge_is_larger_than_a_segment_and_none_shares_a_source(
    given_segments: list[tuple[int, int, bool]], eager: bool
) -> None:
    some = [
        segment(n, rows, partition=partition, level=2 if split else 1)
        for n, (rows, partition, split) in enumerate(given_segments)
    ]
    groups = merges(some, POLICY, eager=eager)
    every = [s.segment_id for group in groups for s in group]
    assert len(every) == len(set(every))
    for group in groups:
        assert len(group) > 1
        assert len({(s.partition_id, s.level) for s in group}) == 1
        assert sum(s.rows for s in group) <= POLICY.rows


def coordinator(catalog: Catalog | None = None) -> CompactionCoordinator:
    numbers = iter(range(1, 10_000))
    records = JobRecords(MemoryCatalog() if catalog is None else catalog, "compaction")
    return CompactionCoordinator(lambda: next(numbers), records, lambda plan: 1 in plan.sources)


def test_no_segment_is_in_two_running_plans() -> None:
    jobs = coordinator()
    one, two, three = segment(1, 1), segment(2, 1), segment(3, 1)
    job, plans = jobs.begin(CompactionKind.MIX, [(one, two), (two, three)], POLICY)
    assert [p.sources for p in plans] == [(1, 2)]
    assert jobs.begin(CompactionKind.MIX, [(two, three)], POLICY) == (NOTHING_TO_DO, [])
    assert jobs.busy(7) == {1, 2}
    jobs.complete(plans[0], [9])
    assert jobs.busy(7) == frozenset()
    assert jobs.plans(job)[0].targets == (9,)
    assert len(jobs.begin(CompactionKind.MIX, [(two, three)], POLICY)[1]) == 1


def test_a_plan_that_failed_says_why_and_frees_its_segments() -> None:
    jobs = coordinator()
    _, plans = jobs.begin(CompactionKind.MIX, [(segment(1, 1),)], POLICY)
    jobs.fail(plans[0], "the disk is full")
    (known,) = jobs.plans_of(7)
    assert (known.state, known.reason) == (PlanState.FAILED, "the disk is full")
    assert jobs.busy(7) == frozenset()


def test_old_jobs_are_forgotten_and_running_ones_are_not() -> None:
    jobs = coordinator()
    first, _ = jobs.begin(CompactionKind.MIX, [(segment(0, 1),)], POLICY)
    for number in range(1, 400):
        _, plans = jobs.begin(CompactionKind.MIX, [(segment(number, 1),)], POLICY)
        jobs.complete(plans[0], [])
    assert len(jobs.plans(first)) == 1
    assert len(jobs.plans_of(7)) <= 258


def test_a_plan_whose_completion_was_committed_with_its_swap_is_complete_after_a_restart() -> None:
    catalog = MemoryCatalog()
    before = coordinator(catalog)
    groups = [(segment(1, 1), segment(2, 1)), (segment(3, 1), segment(4, 1))]
    job, plans = before.begin(CompactionKind.MIX, groups, POLICY, noted=True)
    catalog.commit(before.completion(plans[1], [77]))
    cut_off, done = coordinator(catalog).plans(job)
    assert (cut_off.state, done.state, done.targets) == (PlanState.FAILED, PlanState.COMPLETED, (77,))
    _, by_itself = before.begin(CompactionKind.MIX, [(segment(8, 1), segment(9, 1))], POLICY)
    assert before.completion(by_itself[0], [78]) == {}


def test_a_job_that_was_asked_for_is_known_after_a_restart_and_those_cut_off_have_ended() -> None:
    catalog = MemoryCatalog()
    before = coordinator(catalog)
    groups = [(segment(1, 1), segment(2, 1)), (segment(3, 1), segment(4, 1)), (segment(5, 1), segment(6, 1))]
    job, plans = before.begin(CompactionKind.MIX, groups, POLICY, noted=True)
    before.complete(plans[2], [77])
    by_itself, _ = before.begin(CompactionKind.MIX, [(segment(8, 1), segment(9, 1))], POLICY)
    for _ in range(2):
        after = coordinator(catalog)  # in which segment 1 is there, and no other
        cut_off, gone, done = after.plans(job)
        assert (cut_off.state, cut_off.reason) == (PlanState.FAILED, CUT_OFF)
        assert (gone.state, gone.reason) == (PlanState.FAILED, GONE)
        assert (done.state, done.targets) == (PlanState.COMPLETED, (77,))
        assert after.plans(by_itself) == ()
        assert after.running(cut_off.collection_id) == []


def test_as_many_jobs_are_kept_in_the_catalog_as_in_memory() -> None:
    catalog = MemoryCatalog()
    jobs = coordinator(catalog)
    for number in range(KEPT_JOBS + 9):
        _, (plan,) = jobs.begin(CompactionKind.MIX, [(segment(2 * number, 1),)], POLICY, noted=True)
        jobs.complete(plan, [])
    assert KEPT_JOBS <= len(catalog.scan("compaction-job/")) <= KEPT_JOBS + 1
