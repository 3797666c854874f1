"""A lease that its holder renews."""

from __future__ import annotations

from redkite.errors import ConnectionClosed, StorageError, Unavailable
from redkite.simulated import SimulatedEnv, simulated_env
from redkite.storage.leases import RenewedLease


class Renewals:
    """What the one who gives leases answers, and how often it was asked."""

    def __init__(self, left: float = 2.0) -> None:
        self.left = left
        self.asked = self.revoked = 0
        self.away = False

    def renew(self, timeout: float) -> float:
        self.asked += 1
        if self.away:
            raise Unavailable(f"no answer within {timeout} s")
        return self.left

    def revoke(self) -> None:
        self.revoked += 1


def a_lease(renewals: Renewals) -> tuple[SimulatedEnv, RenewedLease]:
    env = simulated_env(1)
    return env, RenewedLease(env, 7, env.clock.monotonic(), 2.0, renewals.renew, renewals.revoke)


def test_a_lease_is_held_as_long_as_it_is_renewed() -> None:
    env, lease = a_lease(Renewals())
    for _ in range(20):
        env.advance(0.5)
    assert lease.is_held


def test_a_holder_that_slept_does_not_believe_in_its_lease_before_anybody_has_looked() -> None:
    renewals = Renewals()
    env, lease = a_lease(renewals)
    told: list[str] = []
    lease.when_lost(lambda: told.append("lost"))
    lease._timer.cancel()  # its thread has not run again yet
    env.advance(2.5)
    assert not lease.is_held
    assert told == []
    lease._renew()  # it comes too late, though it would be renewed
    assert told == ["lost"]
    assert not lease.is_held


def test_a_lease_that_cannot_be_renewed_ends_by_the_holders_own_clock() -> None:
    renewals = Renewals()
    env, lease = a_lease(renewals)
    told: list[str] = []
    lease.when_lost(lambda: told.append("lost"))
    renewals.away = True
    env.advance(1.0)
    assert lease.is_held
    env.advance(1.5)
    assert not lease.is_held
    assert told == ["lost"]


def test_a_lease_that_the_other_side_has_ended_is_lost_at_once() -> None:
    renewals = Renewals()
    env, lease = a_lease(renewals)
    renewals.left = 0
    env.advance(0.6)
    assert not lease.is_held
    told: list[str] = []
    lease.when_lost(lambda: told.append("late"))
    assert told == ["late"]


def test_a_lease_that_is_given_back_is_revoked_once_and_not_renewed() -> None:
    renewals = Renewals()
    env, lease = a_lease(renewals)
    lease.close()
    lease.close()
    asked = renewals.asked
    env.advance(5)
    assert renewals.revoked == 1
    assert renewals.asked == asked
    assert not lease.is_held


class Refusing(Renewals):
    """As where nobody can be asked for a while, or ever again."""

    error: Exception | None = None

    def revoke(self) -> None:
        super().revoke()
        if self.error is not None:
            raise self.error


def lost(renewals: Renewals) -> tuple[SimulatedEnv, RenewedLease]:
    env, lease = a_lease(renewals)
    renewals.away = True
    env.advance(2.6)
    assert not lease.is_held
    return env, lease


def test_a_lease_that_was_lost_is_ended_as_soon_as_anybody_can_be_asked() -> None:
    renewals = Refusing()
    renewals.error = Unavailable("away")
    env, _ = lost(renewals)
    env.advance(3)
    tried = renewals.revoked
    assert tried > 3
    renewals.error = None
    env.advance(1)
    assert renewals.revoked == tried + 1


def test_a_lease_that_has_ended_is_ended_no_more() -> None:
    for error in (StorageError("no such lease"), ConnectionClosed("closed")):
        renewals = Refusing()
        renewals.error = error
        env, _ = lost(renewals)
        env.advance(3)
        assert renewals.revoked == 1


def test_who_was_killed_ends_no_lease() -> None:
    renewals = Refusing()
    renewals.error = Unavailable("away")
    env, lease = lost(renewals)
    lease.abandon()
    tried = renewals.revoked
    renewals.error = None
    env.advance(3)
    assert renewals.revoked == tried
