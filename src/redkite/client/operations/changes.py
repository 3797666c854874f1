"""Change feeds: what asks for a page, and what is done with those that have a name."""

from __future__ import annotations

from datetime import datetime

from redkite.client import arguments
from redkite.client.arguments import illegal
from redkite.client.session import Operation, Session, ask
from redkite.model import changes as ch
from redkite.model.results import Done

Initial = str | int | datetime
"""Where a feed without a position begins: `"now"`, `"snapshot"`, or a time."""


def start_of(initial: Initial) -> str:
    """How a request says where a feed begins."""
    if isinstance(initial, str):
        if initial not in (ch.NOW, ch.BEGINNING):
            raise illegal("initial", initial)
        return initial
    return str(arguments.moment("initial", initial))


def read(request: ch.ReadChanges) -> Operation[ch.Changes]:
    """One page."""
    return (yield from ask(request, ch.Changes))


def list_change_feeds(session: Session, collection_name: str | None) -> Operation[list[ch.FeedInfo]]:
    request = ch.ListFeeds(
        database=session.database, collection=arguments.optional_name("collection_name", collection_name)
    )
    return list((yield from ask(request, ch.Feeds)).feeds)


def drop_change_feed(session: Session, name: str, collection_name: str | None) -> Operation[None]:
    request = ch.DropFeed(
        database=session.database, name=arguments.name("name", name),
        collection=arguments.optional_name("collection_name", collection_name),
    )  # fmt: skip
    yield from ask(request, Done)


def acknowledge_changes(
    session: Session, name: str, position: str, collection_name: str | None, database: str | None = None
) -> Operation[None]:
    request = ch.AcknowledgeFeed(
        database=session.database if database is None else database, name=arguments.name("name", name),
        position=arguments.name("position", position),
        collection=arguments.optional_name("collection_name", collection_name),
    )  # fmt: skip
    yield from ask(request, Done)
