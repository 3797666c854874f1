"""Where the pages of search iterators ended.

A token says it: `<process>-<iterator>`, and behind the first page `.<where it ended>`. A client that always sends the
newest token is answered by any process. Others send that of the first page for ever; what they read is remembered by
the process that gave it. What is forgotten costs little: rows whose score equals that of the last hit of a page may
then be left out of the next.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from threading import Lock

import msgspec

from redkite.env import Env
from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.schema import OFFSET_FIELD
from redkite.query.plan import After, SearchPartial

MAX_ITERATORS = 4096
_PLACE = tuple[float, int | str | None, int | None]


class Pages:
    """By token. Safe from any thread."""

    def __init__(self, env: Env) -> None:
        self.process = 0
        """What tokens call this process, where several answer the same clients."""
        self._random = env.random
        self._lock = Lock()
        self._ends: OrderedDict[str, After] = OrderedDict()

    def start(self, page: rq.Page) -> After:
        """Where a page begins. The key is known for the page that comes next; a page that is asked for once more, after
        a reply was lost, begins behind its bound."""
        if page.last_bound is None:
            return After()
        name, _, place = page.token.partition(".")
        if place:
            return _decoded(place)
        with self._lock:
            end = self._ends.get(name)
        return end if end is not None and end.score == page.last_bound else After(page.last_bound)

    def end(self, page: rq.Page, found: SearchPartial) -> rs.PageEnd:
        """Remember where a page ended; what the client is to send for the next one."""
        if not len(found.scores):
            return rs.PageEnd(token=page.token or self._named(), last_bound=page.last_bound or 0.0)
        offset = found.rows.column(OFFSET_FIELD)[-1].as_py() if OFFSET_FIELD in found.rows.schema.names else None
        end = After(float(found.scores[-1]), found.ids[-1].as_py(), offset)
        name = page.token.partition(".")[0] or self._named()
        with self._lock:
            self._ends[name] = end
            self._ends.move_to_end(name)
            if len(self._ends) > MAX_ITERATORS:
                self._ends.popitem(last=False)
        # Whoever sends the first token for ever must not be taken for one who renews it.
        token = f"{name}.{_encoded(end)}" if page.token else name
        return rs.PageEnd(token=token, last_bound=float(found.scores[-1]))

    def _named(self) -> str:
        return f"{self.process:x}-{self._random.getrandbits(128):032x}"


def remembered_by(token: str) -> int | None:
    """The process that remembers where the pages of an iterator ended; None: the token says it, or nobody does."""
    process, dash, rest = token.partition("-")
    if not dash or "." in rest:
        return None
    try:
        return int(process, 16)
    except ValueError:
        return None


def _encoded(end: After) -> str:
    place = msgspec.msgpack.encode((end.score, end.key, end.offset))
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def _decoded(place: str) -> After:
    try:
        data = base64.b64decode(place + "=" * (-len(place) % 4), altchars=b"-_", validate=True)
        return After(*msgspec.msgpack.decode(data, type=_PLACE))
    except (binascii.Error, msgspec.DecodeError, UnicodeError):
        raise InvalidParameter("invalid token format") from None
