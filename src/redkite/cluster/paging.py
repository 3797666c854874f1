"""Pages of search iterators whose client sends the token of its first page for ever: the proxy that gave it remembers
where the last page ended, and is handed the request by whichever proxy the client has come to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ClassVar

from redkite.cluster.membership import Membership
from redkite.cluster.network import Message, Network, NotReached, Unanswered
from redkite.cluster.shards.reading import READ_SECONDS
from redkite.env import Tasks
from redkite.logs import get_logger
from redkite.model import requests as rq
from redkite.proxy.pages import remembered_by

log = get_logger(__name__)


class NextPage(Message, frozen=True, kw_only=True):
    """-> Hits: the answer to a search that asks for a page."""

    idempotent: ClassVar[bool] = True

    request: rq.Search


class Paging:
    """Safe from any thread."""

    def __init__(self, tasks: Tasks, node_id: int, members: Membership, network: Network) -> None:
        self._tasks = tasks
        self._node_id = node_id
        self._members = members
        self._network = network

    def elsewhere(self, request: rq.Search, here: Callable[[rq.Search], Any]) -> Future[Any] | None:
        """The page, from the proxy that remembers where the one before it ended. When that proxy has gone, what `here`
        answers: rows of the same score as the last one before may be missing then. None: no other proxy remembers."""
        page = request.page
        number = None if page is None or not page.token else remembered_by(page.token)
        record = None if number is None or number == self._node_id else self._members.node(number)
        if record is None or record.role != "proxy":
            return None
        answer: Future[Any] = self._tasks.future()

        def arrived(asked: Future[Any]) -> None:
            error = asked.exception()
            if error is None:
                answer.set_result(asked.result())
            elif isinstance(error, NotReached | Unanswered):
                gone(error)
            else:
                answer.set_exception(error)

        def gone(error: Exception) -> None:
            log.info("proxy %s does not answer, and knows where a page ended: %s", number, error)
            try:
                found: Future[Any] = here(request)
            except Exception as failure:  # noqa: BLE001  it is the answer
                answer.set_exception(failure)
                return
            found.add_done_callback(lambda done: _pass_on(done, answer))

        try:
            asked = self._network.connect(record.address).ask_soon(NextPage(request=request), READ_SECONDS)
        except NotReached as error:
            gone(error)
        else:
            asked.add_done_callback(arrived)
        return answer


def _pass_on(done: Future[Any], answer: Future[Any]) -> None:
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)
