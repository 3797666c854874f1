"""Where the pages of search iterators ended.

What is forgotten costs little: rows whose score equals that of the last hit of a page may then be left out of the next.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from redkite.env import Env
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.schema import OFFSET_FIELD
from redkite.query.plan import After, SearchPartial

MAX_ITERATORS = 4096


class Pages:
    """By token. Safe from any thread."""

    def __init__(self, env: Env) -> None:
        self._random = env.random
        self._lock = Lock()
        self._ends: OrderedDict[str, After] = OrderedDict()

    def start(self, page: rq.Page) -> After:
        """Where a page begins. The key is known for the page that comes next; a page that is asked for once more, after
        a reply was lost, begins behind its bound."""
        if page.last_bound is None:
            return After()
        with self._lock:
            end = self._ends.get(page.token)
        return end if end is not None and end.score == page.last_bound else After(page.last_bound)

    def end(self, page: rq.Page, found: SearchPartial) -> rs.PageEnd:
        """Remember where a page ended; what the client is to send for the next one."""
        token = page.token or f"{self._random.getrandbits(128):032x}"
        if not len(found.scores):
            return rs.PageEnd(token=token, last_bound=page.last_bound or 0.0)
        offset = found.rows.column(OFFSET_FIELD)[-1].as_py() if OFFSET_FIELD in found.rows.schema.names else None
        end = After(float(found.scores[-1]), found.ids[-1].as_py(), offset)
        with self._lock:
            self._ends[token] = end
            self._ends.move_to_end(token)
            if len(self._ends) > MAX_ITERATORS:
                self._ends.popitem(last=False)
        return rs.PageEnd(token=token, last_bound=float(found.scores[-1]))
