"""Jobs of imports, as they are known to those that do them one after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from redkite.coordinator.garbage import Garbage
from redkite.coordinator.imports import ImportJob, ImportJobs
from redkite.errors import Unavailable
from redkite.model.imports import ImportedFile, ImportState
from redkite.simulated import simulated_env
from redkite.storage.catalog import MemoryCatalog
from redkite.storage.objects import FolderObjects


class Away(MemoryCatalog):
    """A catalog that takes nothing while it is away."""

    away = False
    commits = 0

    def commit(self, puts: Mapping[str, bytes], *more: Any) -> None:
        if self.away:
            raise Unavailable("it is away")
        self.commits += 1
        super().commit(puts, *more)


@pytest.fixture
def catalog() -> Away:
    return Away()


def jobs(catalog: Away, *, resumes: bool = True) -> ImportJobs:
    env = simulated_env(1)
    garbage = Garbage(env, FolderObjects(env.files, "/objects"), frozenset)
    return ImportJobs(catalog, garbage, lambda: 5, 10, resumes=resumes)


def begun(found: ImportJobs) -> ImportJobs:
    found.start(ImportJob(
        job_id=7, database="default", collection="c", collection_id=1, partition="", groups=(("a.json",),), options={},
        created_ms=1,
    ))  # fmt: skip
    return found


def test_who_goes_on_with_a_job_says_no_less_than_was_said_before(catalog: Away) -> None:
    files = (ImportedFile(name="a.json", rows=5),)
    begun(jobs(catalog)).goes_on(7, 57, state=ImportState.IMPORTING, files=files)
    after = jobs(catalog)
    (job,) = after.take_over(lambda _: True)
    assert (job.state, job.progress, job.files) == (ImportState.PENDING, 57, ())
    after.goes_on(7, 10, state=ImportState.PRE_IMPORTING)
    assert (after.find(7).state, after.find(7).progress) == (ImportState.PRE_IMPORTING, 57)
    after.goes_on(7, 70)
    assert after.find(7).progress == 70


def test_how_far_a_job_is_is_said_when_it_is_durable(catalog: Away) -> None:
    found = begun(jobs(catalog))
    catalog.away = True
    found.goes_on(7, 40, state=ImportState.IMPORTING)
    assert (found.find(7).state, found.find(7).progress) == (ImportState.IMPORTING, 0)
    catalog.away = False
    found.goes_on(7, 41)
    assert found.find(7).progress == 41


def test_where_nobody_else_goes_on_nothing_is_written_for_it(catalog: Away) -> None:
    found = begun(jobs(catalog, resumes=False))
    catalog.commits = 0
    found.goes_on(7, 40)
    found.goes_on(7, 20)
    assert (found.find(7).progress, catalog.commits) == (40, 0)


def test_that_a_job_failed_is_said_when_it_is_durable(catalog: Away) -> None:
    """Else the next coordinator would do it after all."""
    found = begun(jobs(catalog))
    found.goes_on(7, 40, state=ImportState.IMPORTING)
    catalog.away = True
    with pytest.raises(Unavailable):
        found.fail(7, "a disk was full")
    assert (found.find(7).state, found.find(7).progress) == (ImportState.IMPORTING, 40)
    catalog.away = False
    found.fail(7, "a disk was full")
    for known in (found, jobs(catalog)):
        assert (known.find(7).state, known.find(7).reason) == (ImportState.FAILED, "a disk was full")


def test_a_job_that_is_complete_in_the_catalog_does_not_fail(catalog: Away) -> None:
    """The commit came about, and nobody was told."""
    found = begun(jobs(catalog))
    _, record = found.completed(7)
    catalog.commit(record)
    found.fail(7, "no answer came")
    for known in (found, jobs(catalog)):
        assert known.find(7).state is ImportState.COMPLETED


def test_that_a_job_waits_to_be_committed_is_said_when_it_is_durable(catalog: Away) -> None:
    found = begun(jobs(catalog))
    catalog.away = True
    with pytest.raises(Unavailable):
        found.wait_for_commit(7, ())
    assert found.find(7).state is ImportState.PENDING
    catalog.away = False
    found.wait_for_commit(7, ())
    for known in (found, jobs(catalog)):
        assert (known.find(7).state, known.find(7).progress) == (ImportState.UNCOMMITTED, 99)


def test_of_jobs_without_a_collection_those_are_left_whose_end_cannot_be_noted(catalog: Away) -> None:
    begun(jobs(catalog))
    after = jobs(catalog)
    catalog.away = True
    assert [job.job_id for job in after.take_over(lambda _: False)] == [7]
    catalog.away = False
    after = jobs(catalog)
    assert after.take_over(lambda _: False) == []
    assert "has been dropped" in after.find(7).reason


def test_what_is_asked_for_before_the_jobs_of_another_are_taken_over_is_done_once(catalog: Away) -> None:
    """A coordinator answers before it has looked at what the one before left."""
    begun(jobs(catalog)).wait_for_commit(7, ())
    after = jobs(catalog)
    after.update(7, state=ImportState.COMMITTING)
    after.start(structs.replace(after.find(7), job_id=8, state=ImportState.PENDING))
    assert after.take_over(lambda _: True) == []
    assert [after.find(number).state for number in (7, 8)] == [ImportState.COMMITTING, ImportState.PENDING]
