"""Users and roles, through every client. Nobody asks here who they are; what is recorded is the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def who(client: Any) -> Iterator[str]:
    """A user, and a role of the same name."""
    chosen = f"u{uuid.uuid4().hex[:12]}"
    client.create_user(chosen, "secret1")
    client.create_role(chosen)
    yield chosen
    client.drop_user(chosen)
    client.drop_role(chosen, force_drop=True)


def test_a_role_is_given_to_a_user_and_taken_back(client: Any, who: str) -> None:
    client.grant_role(who, who)
    assert list(client.describe_user(who)["roles"]) == [who]
    client.revoke_role(who, who)
    assert list(client.describe_user(who)["roles"]) == []
    assert who in client.list_users()
    assert who in client.list_roles()


def test_users_and_roles_have_descriptions_that_change(client: Any, who: str) -> None:
    client.alter_role(who, "sings")
    assert client.describe_role(who)["description"] == "sings"
    client.update_user(who, "a bird")
    assert client.describe_user(who)["description"] == "a bird"


def test_segments_have_two_names(client: Any, name: str) -> None:
    client.create_collection(name, dimension=4)
    client.insert(name, [{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}])
    client.flush(name)
    (one,), (other,) = client.list_segments(name), client.list_persistent_segments(name)
    assert (one.segment_id, one.num_rows) == (other.segment_id, 1)
