"""What is still wanted of a topic, by recovery and by its groups; what is wanted no more goes, sooner or later.

A page is wanted no more when a page follows it, all its records lie before the point of truncation, and every group has
acknowledged all of them. Such pages are the first ones of a topic. With no retention set they are removed at once. With
`retention_bytes` the oldest are removed until the rest of them fits; with `retention_seconds` each is removed when it
has not been wanted for so long; with both, whatever comes first.
"""

from __future__ import annotations

from collections.abc import Sequence

from redkite.env import Env
from redkite.errors import InvalidParameter
from redkite.storage.log import LogSettings
from redkite.storage.log_pages import Page
from redkite.storage.log_state import TopicState, load_state, save_state

MAX_GROUPS = 1_000


class Keeper:
    """The state of one topic. Calls are serialised by the topic."""

    def __init__(self, env: Env, folder: str, settings: LogSettings) -> None:
        self._env = env
        self._folder = folder
        self._bytes = settings.retention_bytes
        self._seconds = settings.retention_seconds
        self._state = TopicState()
        self._truncated = 0

    @property
    def groups(self) -> dict[str, int]:
        return self._state.groups

    def load(self) -> None:
        self._state = load_state(self._env.files, self._folder)
        self._truncated = self._state.truncated

    def truncate(self, position: int) -> None:
        self._truncated = max(self._truncated, position)

    def set_group(self, name: str, position: int) -> None:
        """Create or move a group, durably."""
        if name not in self._state.groups and len(self._state.groups) >= MAX_GROUPS:
            raise InvalidParameter(f"a log topic has at most {MAX_GROUPS} groups")
        self._save(groups={**self._state.groups, name: position})

    def drop_group(self, name: str) -> None:
        if name in self._state.groups:
            self._save(groups={known: at for known, at in self._state.groups.items() if known != name})

    def removable(self, pages: Sequence[Page]) -> int:
        """How many of the first pages go now. Also notes, durably, since when those that stay are not wanted."""
        floor = min([self._truncated, *self._state.groups.values()])
        unwanted = sum(1 for following in pages[1:] if following.base <= floor)
        gone = unwanted
        if unwanted and (self._bytes >= 0 or self._seconds >= 0):
            gone = max(self._over_bytes(pages[:unwanted]), self._over_time(pages[:unwanted]))
        stays_truncated = any(following.base <= self._truncated for following in pages[gone + 1 :])
        if stays_truncated and self._state.truncated != self._truncated:
            self._save()
        return gone

    def _over_bytes(self, unwanted: Sequence[Page]) -> int:
        if self._bytes < 0:
            return 0
        sizes = [self._env.files.size(page.path) for page in unwanted]
        total, gone = sum(sizes), 0
        while total > self._bytes:
            total -= sizes[gone]
            gone += 1
        return gone

    def _over_time(self, unwanted: Sequence[Page]) -> int:
        if self._seconds < 0:
            return 0
        now = self._env.clock.now_ms()
        known = self._state.unwanted
        # A clock that was set back must not keep a page for longer than from now on.
        since = {page.base: min(known.get(page.base, now), now) for page in unwanted}
        if since != known:
            self._save(unwanted=since)
        return sum(1 for page in unwanted if now - since[page.base] >= self._seconds * 1000)

    def _save(self, *, groups: dict[str, int] | None = None, unwanted: dict[int, int] | None = None) -> None:
        state = TopicState(
            truncated=self._truncated,
            groups=self._state.groups if groups is None else groups,
            unwanted=self._state.unwanted if unwanted is None else unwanted,
        )
        save_state(self._env.files, self._folder, state)
        self._state = state
