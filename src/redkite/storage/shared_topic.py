"""One topic of a log in a broker. What was appended counts when it was read back: then it is known that nobody else had
begun to write the topic before (`shared_format`)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from itertools import islice
from math import inf
from typing import Any, Final, NamedTuple

from redkite.env import Buffer, Env, Executor
from redkite.errors import InvalidParameter, MilvusException, StorageError, TopicBehind, TopicClosed, Unavailable
from redkite.logs import get_logger
from redkite.storage import shared_format as fmt
from redkite.storage.broker import Broker, Following, Message
from redkite.storage.catalog import Catalog
from redkite.storage.coordination import Fenced
from redkite.storage.log import EARLIEST, At, LogRecord, Room
from redkite.storage.log_answers import check_name, finish
from redkite.storage.log_backlog import Backlog, Place
from redkite.storage.log_groups import LocalGroup, resolve
from redkite.storage.log_room import APPEND_BYTES, LocalRoom, check_length
from redkite.storage.shared_proofs import Proofs

_logger = get_logger("log")
_MESSAGES_PER_JOB: Final = 256
"""Messages one job takes before another topic has its turn."""
_MOST_PATIENCE: Final = 3
"""So many times as long as the broker may take an append waits at most."""


class Superseded(Fenced):
    """Somebody else writes the topic now."""


class _Append(NamedTuple):
    session: fmt.Session
    last: int
    """The number of its last message."""
    place: Place
    since: float
    on_durable: Callable[[int], None] | None
    answer: Callable[[], Any] | None
    future: Future[Any]


class SharedTopic:
    """Locks, taken in this order: `_keeping` guards what is remembered and forgotten, `_sending` is held by whoever
    sends records, `_state` for moments.

    A session ends when the broker fails a message or stops delivering. The next call that wants to write, or to know
    where the log ends, begins another, and what the old one sent by then is either read before it or void.
    """

    def __init__(
        self,
        env: Env,
        broker: Broker,
        name: str,
        appliers: Executor,
        settlers: Executor,
        backlog: Backlog,
        positions: Catalog,
        next_session: Callable[[str], fmt.Session] | None,
        patience: float,
    ) -> None:
        """`positions` keeps where groups are. `next_session` is None where the topic is only read. What the broker does
        not answer within `patience` seconds, it does not."""
        self._tasks, self._clock = env.tasks, env.clock
        self._broker = broker
        self._name = name
        self._appliers, self._settlers = appliers, settlers
        self._backlog = backlog
        self._positions, self._prefix = positions, f"{name}/"
        self._next_session = next_session
        self._patience = patience
        self._keeping, self._sending, self._state = threading.Lock(), threading.Lock(), threading.Lock()
        self._judge, self._anchors = fmt.Judge(), fmt.Anchors()
        self._session = fmt.NOBODY
        """Under which appends are sent; `NOBODY`: none can be."""
        self._own = fmt.NOBODY
        """The last that was begun here."""
        self._sequence = 0
        self._begun: Future[None] | None = None
        self._pending: deque[_Append] = deque()
        self._inbox: deque[Message | int] = deque()
        """A number: begin anew with the message at it, all before is forgotten."""
        self._draining = False
        self._settling = False
        self._following: Following | None = None
        self._next = 0
        """Messages before this position were looked at."""
        self._end = 0
        self._truncated = 0
        self._over: MilvusException | None = None
        """Why nothing of the topic can be relied on here any more."""
        self._groups: dict[str, LocalGroup] = {}
        self._proofs = Proofs(env, self._send_proof)
        self.unapplied = ""
        self.closed = False

    # -- where it is ----------------------------------------------------------------------------
    @property
    def end(self) -> int:
        if self._next_session is None:
            self._look()
        else:
            self._begin()
        return self._end

    @property
    def start(self) -> int:
        first, behind = self._broker.bounds(self._name)
        # The first message stays to tell which of those behind it count; what it says is forgotten.
        return first + 1 if behind > first else first

    def refresh(self) -> int:
        return self.end

    @property
    def failure(self) -> str:
        """Why nothing of the topic can be relied on here any more, if so."""
        return self._over.message if self._over is not None else ""

    def _look(self) -> None:
        """Read what has come since, for a process that only reads."""
        with self._keeping:
            while not self._look_on():  # something was forgotten meanwhile
                continue

    def _look_on(self) -> bool:
        """False when messages that were not looked at went away before they were read."""
        first, _ = self._broker.bounds(self._name)
        if first > self._next:
            self._begin_anew(first)
        expected = self._next
        for message in self._broker.read(self._name, expected):
            if message.position > self._next == expected and self._broker.bounds(self._name)[0] > expected:
                return False
            header, _ = fmt.parse(message.payload, self._where(message.position))
            self._next = message.position + 1
            if self._judge.counts(header) and not header.left:
                self._end = self._next
                self._anchors.add(message.position)
        return True

    def _begin_anew(self, first: int) -> None:
        """The first message that is kept counts, whatever was before it."""
        self._judge, self._next = fmt.Judge(), first

    def _where(self, position: int) -> str:
        return f"message {position} of the log's topic '{self._name}'"

    # -- sessions -------------------------------------------------------------------------------
    def _begin(self) -> None:
        """Have a session, and know everything that came before it."""
        if self._session != fmt.NOBODY:
            return
        self._check_usable()
        if self._backlog.here.depth:
            raise Unavailable(f"the log's topic '{self._name}' lost its broker: try again")
        with self._state:
            begun, ours = self._begun, self._begun is None
            if begun is None:
                begun = self._begun = self._tasks.future()
        if ours:
            self._begin_session(begun)
        try:
            begun.result(self._patience)
        except TimeoutError:
            error = Unavailable(
                f"the log's topic '{self._name}' could not be begun: the broker did not answer within "
                f"{self._patience:g} s"
            )
            if ours:
                self._lose(error)
            raise error from None

    def _begin_session(self, begun: Future[None]) -> None:
        assert self._next_session is not None
        try:
            session = self._own = self._next_session(self._name)
            if self._following is None:
                self._broker.create(self._name)
                if not self._follow(begun):
                    return
            self._broker.send(self._name, fmt.begin_message(session), partial(self._sent, session))
        except MilvusException as error:
            self._lose(error)

    def _follow(self, begun: Future[None]) -> bool:
        """False when the session is over before it began."""
        first, _ = self._broker.bounds(self._name)
        at = max(first, self._next)
        if first > self._next:
            self._deliver(first)  # somebody else wrote since, and forgot what we have not seen
        following = self._broker.follow(self._name, at, self._deliver, self._lose)
        with self._state:
            is_wanted = self._begun is begun and not self.closed
            if is_wanted:
                self._following = following
        if not is_wanted:
            following.close()
        return is_wanted

    def _sent(self, session: fmt.Session, error: MilvusException | None) -> None:
        if error is not None and session == self._own:
            self._lose(error, deaf=False)

    def _lose(self, error: MilvusException, *, deaf: bool = True) -> None:
        """No more is sent under this session; when `deaf`, nothing is heard from the broker either."""
        with self._state:
            self._session = fmt.NOBODY
            begun, self._begun = self._begun, None
            following: Following | None = None
            if deaf:
                following, self._following = self._following, None
        if begun is not None:
            begun.set_exception(error)
        self._proofs.fail(error)
        if self.closed:
            return
        _logger.warning("the session over the log's topic '%s' ended: %s", self._name, error.message)
        if following is not None:
            self._settlers.submit(following.close)
        with self._state:
            settle = bool(self._pending) and not self._settling
            self._settling |= settle
        if settle:
            self._settlers.submit(self._settle)

    def _settle(self) -> None:
        """Tell those who wait whether their records count, by beginning another session."""
        with self._state:
            self._settling = False
            if not self._pending:
                return
        try:
            self._begin()
        except MilvusException as error:
            self._give_up(Unavailable(f"it is not known whether this write is durable: {error.message}"))

    def _give_up(self, error: MilvusException) -> None:
        """All who wait hear that nobody knows."""
        with self._state:
            waiting, self._pending = self._pending, deque()
            if waiting and not self.unapplied:
                self.unapplied = error.message
        self._fail(error, waiting)

    def check(self) -> None:
        """Called now and then: what waits longer than the broker may take is settled otherwise."""
        with self._state:
            oldest = self._pending[0].since if self._pending else inf
        waited = self._clock.monotonic() - oldest
        if waited > _MOST_PATIENCE * self._patience:
            error = Unavailable(f"it is not known whether this write is durable: no answer for {waited:.0f} s")
            self._lose(error)  # what comes late must not count
            self._give_up(error)
        elif waited > self._patience and self._begun is None:
            self._lose(Unavailable(f"the broker gave back nothing for {self._patience:g} s"))

    # -- writing --------------------------------------------------------------------------------
    def append(
        self,
        buffers: Sequence[Buffer],
        on_durable: Callable[[int], None] | None = None,
        answer: Callable[[], Any] | None = None,
        room: Room | None = None,
    ) -> Future[Any]:
        length = sum([memoryview(buffer).nbytes for buffer in buffers])
        check_length(length)
        self._begin()
        place = Place()
        if not (isinstance(room, LocalRoom) and room.use(self, length, place)):
            self._backlog.enter(length + APPEND_BYTES, place)
        future: Future[Any] = self._tasks.future()
        future.set_running_or_notify_cancel()  # nobody can cancel it: the message may be in the log
        most = self._broker.message_bytes
        with self._sending:
            with self._state:
                refused = self._refusal()
                if refused is None:
                    session, first = self._session, self._sequence + 1
                    self._sequence += fmt.messages_of(length, most)
                    since = self._clock.monotonic()
                    self._pending.append(_Append(session, self._sequence, place, since, on_durable, answer, future))
            if refused is not None:
                self._backlog.leave(place)
                raise refused
            for message in fmt.record_messages(session, first, buffers, most):
                try:
                    self._broker.send(self._name, message, partial(self._sent, session))
                except MilvusException as error:  # who waits for the future hears of it
                    self._sent(session, error)
                    break
        return future

    def _refusal(self) -> MilvusException | None:
        """Why nothing can be appended now."""
        if self.closed:
            return TopicClosed(f"the log's topic '{self._name}' is closed")
        if self.unapplied:
            return TopicBehind(f"the log's topic '{self._name}' takes no writes: {self.unapplied}")
        if self._session == fmt.NOBODY:
            return self._over or Unavailable(f"the log's topic '{self._name}' lost its broker: try again")
        return None

    def _check_usable(self) -> None:
        if self.closed:
            raise TopicClosed(f"the log's topic '{self._name}' is closed")
        if self._next_session is None:
            raise StorageError(f"cannot write to the log's topic '{self._name}': it is open for reading only")
        if self._over is not None:
            raise self._over

    def resume(self) -> None:
        """What is in the log has been applied by now."""
        self.unapplied = ""

    def prove(self) -> Future[None]:
        """Done when it is certain that nobody else had begun to write the topic by the time of this call: a message was
        sent since and read back, which counts for nobody. Fails, or raises, with Superseded when somebody had, and with
        Unavailable when the broker does not say; it may also say nothing for long. Waits for nobody."""
        if self._session == fmt.NOBODY:
            self._check_usable()
            if self._begun is None:
                self._settlers.submit(self._try_to_begin)
            raise Unavailable(f"the log's topic '{self._name}' lost its broker: try again")
        return self._proofs.ask()

    def _try_to_begin(self) -> None:
        with suppress(MilvusException):  # it is told, and whoever asks again tries again
            self._begin()

    def _send_proof(self, number: int) -> None:
        with self._sending:  # behind the last message that has its number, and before the next
            with self._state:
                session, last = self._session, self._sequence
            if self.closed or session == fmt.NOBODY:
                raise self._over or Unavailable(f"the log's topic '{self._name}' lost its broker: try again")
            self._broker.send(self._name, fmt.proof_message(session, last, number), self._proof_sent)

    def _proof_sent(self, error: MilvusException | None) -> None:
        if error is not None:  # records come through, or they find out themselves
            self._proofs.fail(error)

    def keep_room(self, length: int) -> None:  # noqa: ARG002  a broker's disks are its own affair
        with self._state:
            refused = self._refusal() if self.unapplied or self.closed else None
        if refused is not None:
            raise refused
        self._begin()

    def keep_no_room(self) -> None:
        """None was kept."""

    # -- reading back ---------------------------------------------------------------------------
    def _deliver(self, message: Message | int) -> None:
        with self._state:
            self._inbox.append(message)
            if self._draining:
                return
            self._draining = True
        self._appliers.submit(self._drain)

    def _drain(self) -> None:
        for _ in range(_MESSAGES_PER_JOB):
            with self._state:
                if not self._inbox:
                    self._draining = False
                    return
                message = self._inbox.popleft()
            try:
                if isinstance(message, int):
                    self._begin_anew(message)
                    self._give_up(Unavailable("it is not known whether this write was in the log: it is forgotten"))
                else:
                    self._take(message)
            except Exception as error:  # noqa: BLE001  whatever it is: what comes behind it cannot be judged
                self._end_for_good(error if isinstance(error, MilvusException) else StorageError(repr(error)))
        self._appliers.submit(self._drain)

    def _take(self, message: Message) -> None:
        if message.position < self._next or self._over is not None:
            return  # delivered again, or of no use any more
        header, content = fmt.parse(message.payload, self._where(message.position))
        self._next = message.position + 1
        if not self._judge.counts(header):
            if header.session == self._own == self._judge.session:
                number = fmt.proof_number(header, content)
                if number is not None:
                    self._proofs.came_back(number)
            # A later session whose beginning was not seen: it is forgotten already.
            if header.session == self._own < self._judge.session or header.session > self._own != fmt.NOBODY:
                self._supersede()
            return
        if not header.left:
            self._end = self._next
            self._anchors.add(message.position)
        if header.kind == fmt.BEGIN:
            self._saw_begin(header.session)
        elif not header.left:
            self._saw_record(header, message.position)

    def _saw_begin(self, session: fmt.Session) -> None:
        """What is pending and was not read by now is void."""
        if session > self._own != fmt.NOBODY:
            self._supersede()
            return
        with self._state:
            void = [append for append in self._pending if append.session < session]
            self._pending = deque(append for append in self._pending if append.session >= session)
            begun = self._begun if session == self._own else None
            if begun is not None:
                self._session, self._sequence, self._begun = session, 0, None
        self._fail(Unavailable("this write did not get into the log, whose broker was lost: try again"), void)
        if begun is not None:
            begun.set_result(None)

    def _supersede(self) -> None:
        self._end_for_good(Superseded(f"another node writes the log's topic '{self._name}' now"))

    def _end_for_good(self, error: MilvusException) -> None:
        """What waits did not get into the log: somebody else had begun before, or what is there cannot be read."""
        with self._state:
            self._over = self._over or error
            waiting, self._pending = self._pending, deque()
        self._lose(error)
        self._fail(error, waiting)

    def _saw_record(self, header: fmt.Header, position: int) -> None:
        with self._state:
            first = self._pending[0] if self._pending else None
            if first is None or first.session != header.session or first.last != header.sequence:
                return  # nobody waits for it
            append = self._pending.popleft()
        self._backlog.leave(append.place)
        with self._backlog.here:
            try:
                if append.on_durable is not None:
                    append.on_durable(position)
            except Exception as error:  # whatever it is: what is durable and what is shown have parted
                _logger.exception("record %d of '%s' is durable but was not applied", position, self._name)
                self._stop_applying(error, append)
                return
        finish(append.future, append.answer, position)

    def _stop_applying(self, error: Exception, append: _Append) -> None:
        """Nothing more is applied or written until all is replayed."""
        with self._state:
            self.unapplied = error.message if isinstance(error, MilvusException) else repr(error)
            self._session = fmt.NOBODY
            waiting, self._pending = self._pending, deque()
        append.future.set_exception(error)
        self._fail(error, waiting)

    def _fail(self, error: Exception, waiting: Iterable[_Append]) -> None:
        for append in waiting:
            self._backlog.leave(append.place)
            append.future.set_exception(error)

    # -- reading --------------------------------------------------------------------------------
    def read(self, position: int = 0) -> Iterator[LogRecord]:
        end = self.end  # first: what is judged to count by then is what there is
        first, behind = self._broker.bounds(self._name)
        if behind <= first or end <= position:
            return iter(())
        known = self._anchors.before(position)
        return self._records(first if known is None else max(known, first), position, end)

    def _records(self, known: int, position: int, end: int) -> Iterator[LogRecord]:
        """Records from `position` to `end`, read from a message that counts, which is before them."""
        judge, pieces = fmt.Judge(), fmt.Pieces()
        messages = self._broker.read(self._name, known)
        for first in islice(messages, 1):
            judge.counts(fmt.parse(first.payload, self._where(first.position))[0])
        for message in messages:
            if message.position >= end:
                return
            header, content = fmt.parse(message.payload, self._where(message.position))
            if not judge.counts(header):
                continue
            whole = pieces.add(header, content)
            if whole is not None and message.position >= position:
                yield LogRecord(message.position, whole)

    # -- forgetting -----------------------------------------------------------------------------
    def truncate(self, position: int) -> None:
        end = self.end
        if position > end:
            raise InvalidParameter(f"cannot truncate to {position}, the log ends at {end}")
        with self._keeping:
            self._truncated = max(self._truncated, position)
            self._forget()

    def _forget(self) -> None:
        wanted = min([self._truncated, *self._known_groups().values()])
        known = self._anchors.before(wanted)  # None: it was not read yet, and is forgotten another time
        if known is not None and known > self._broker.bounds(self._name)[0]:
            self._broker.forget(self._name, known)
            self._anchors.forget(known)

    # -- groups ---------------------------------------------------------------------------------
    def group(self, name: str, at: At = EARLIEST) -> LocalGroup:
        check_name(name, "group")
        self._check_open()
        with self._keeping:
            found = self._groups.get(name)
        if found is None:
            known = self._known_groups().get(name)
            position = resolve(self, at) if known is None else known
            with self._keeping:
                if known is None:
                    self._put_group(name, position)
                found = self._groups.setdefault(name, LocalGroup(self, name, position))
        return found

    def groups(self) -> list[str]:
        return sorted(self._known_groups())

    def _known_groups(self) -> dict[str, int]:
        cut = len(self._prefix)
        return {key[cut:]: int(value) for key, value in self._positions.scan(self._prefix)}

    def _put_group(self, name: str, position: int) -> None:
        self._positions.commit({self._prefix + name: b"%d" % position})

    def drop_group(self, name: str) -> None:
        self._check_open()
        with self._keeping:
            self._groups.pop(name, None)
            self._positions.commit({}, [self._prefix + name])
            self._forget()

    def acknowledged_by(self, name: str) -> int:
        """Everything before this is acknowledged by a group."""
        found = self._positions.get(self._prefix + name)
        if found is None:
            raise InvalidParameter(f"the log's topic '{self._name}' has no group '{name}' (any more)")
        return int(found)

    def move_group(self, name: str, position: int, *, forward_only: bool = False) -> None:
        """Let everything before `position` count as acknowledged by a group, durably."""
        self._check_open()
        with self._keeping:
            known = self.acknowledged_by(name)
            if position > known or (position < known and not forward_only):
                self._put_group(name, position)
                self._forget()

    def _check_open(self) -> None:
        if self.closed:
            raise TopicClosed(f"the log's topic '{self._name}' is closed")

    # -- closing --------------------------------------------------------------------------------
    def close(self) -> None:
        """Wait for appends under way, as long as the broker may take."""
        with self._state:
            if self.closed:
                return
            last = self._pending[-1].future if self._pending else None
        if last is not None:
            with suppress(TimeoutError, CancelledError):
                last.exception(self._patience)
        self.abandon()

    def abandon(self) -> None:
        """Wait for nothing."""
        with self._state:
            if self.closed:
                return
            self.closed = True
            self._session = fmt.NOBODY
            following, self._following = self._following, None
            begun, self._begun = self._begun, None
        gone = TopicClosed(f"the log's topic '{self._name}' is closed")
        if begun is not None:
            begun.set_exception(gone)
        self._proofs.fail(gone)
        if following is not None:
            following.close()
        self._give_up(Unavailable("it is not known whether this write is durable: the log was closed before"))
