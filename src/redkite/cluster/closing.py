"""How a node ends: each of its parts is closed, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from redkite.errors import MilvusException
from redkite.logs import get_logger

log = get_logger(__name__)


def close_each(what: str, parts: Iterable[Callable[[], object]]) -> None:
    """Call all of these in their order. What fails is logged as part of `what`: nobody could do more about it, and what
    it has left elsewhere ends with its lease."""
    for close in parts:
        try:
            close()
        except MilvusException as error:
            log.warning("%s did not end in good order: %s", what, error.message)
        except TimeoutError:
            log.warning("%s did not end in good order: it took too long", what)
        except Exception:  # a mistake in one part must not keep the others open
            log.exception("%s did not end in good order", what)
