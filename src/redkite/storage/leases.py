"""A lease as its holder sees it, wherever it was given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from redkite.env import Env, Timer
from redkite.errors import ConnectionClosed, MilvusException, Unavailable
from redkite.logs import get_logger

log = get_logger(__name__)

_RENEWALS: Final = 4
"""So often within its life a lease is renewed."""
END_SECONDS: Final = 0.25
"""How often it is tried to end a lease that was lost."""


class RenewedLease:
    """See `Lease`. `asked` is when the lease was asked for by the holder's monotonic clock, before it was given for
    `seconds`. `renew` gives the seconds that are left again, 0 when the lease has ended; `revoke` ends it."""

    def __init__(
        self,
        env: Env,
        number: int,
        asked: float,
        seconds: float,
        renew: Callable[[float], float],
        revoke: Callable[[], None],
    ) -> None:
        self._clock, self._tasks = env.clock, env.tasks
        self._ask_again, self._revoke = renew, revoke
        self._lock = threading.Lock()
        self._closed = self._lost = self._abandoned = False
        self._ending: Timer | None = None
        self._tell: list[Callable[[], None]] = []
        self.number = number
        self.seconds = seconds
        self._until = asked + seconds
        self._timer = env.tasks.every(seconds / _RENEWALS, self._renew, "lease", alone=True)

    @property
    def is_held(self) -> bool:
        return not self._closed and not self._lost and self._clock.monotonic() < self._until

    @property
    def held_until(self) -> float:
        return self._until

    def when_lost(self, tell: Callable[[], None]) -> None:
        with self._lock:
            if not self._lost:
                self._tell.append(tell)
                return
        tell()

    def _renew(self) -> None:
        asked = self._clock.monotonic()
        if self._closed or self._lost:
            return
        try:
            left = self._ask_again(max(0.5, self.seconds / _RENEWALS))
        except MilvusException as error:
            if self._clock.monotonic() >= self._until:
                self._give_up(f"not renewed in time: {error.message}")
            return
        if left <= 0:
            self._give_up("it has ended")
        elif self._clock.monotonic() >= self._until:
            # It went on without us, but somebody here may have seen `is_held` false and left off.
            self._give_up("renewed too late")
        else:
            self._until = asked + left

    def _give_up(self, why: str) -> None:
        with self._lock:
            if self._lost or self._closed:
                return
            self._lost = True
            self._until = min(self._until, self._clock.monotonic())
            told, self._tell = self._tell, []
        self._timer.cancel()
        log.warning("lost the lease %x: %s", self.number, why)
        for tell in told:
            tell()
        self._end_soon()

    def _end_soon(self) -> None:
        """Its keys may be there for as long again, when who keeps them was away, and nobody is given what they stand
        for before they are gone."""
        with self._lock:
            if not self._abandoned:
                self._ending = self._tasks.every(END_SECONDS, self._end, "lease", alone=True)

    def _end(self) -> None:
        try:
            self._revoke()
        except ConnectionClosed:
            log.debug("the lease %x ends by itself", self.number)
        except Unavailable:
            return
        except MilvusException as error:
            log.debug("the lease %x is over: %s", self.number, error.message)
        if self._ending is not None:
            self._ending.cancel()

    def abandon(self) -> None:
        """As when the process is killed: it is not renewed, and nobody is told."""
        with self._lock:
            self._closed = self._abandoned = True
        self._timer.cancel()
        if self._ending is not None:
            self._ending.cancel()

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._timer.cancel()
        try:
            self._revoke()
        except MilvusException as error:
            log.info("the lease %x ends by itself: %s", self.number, error.message)
