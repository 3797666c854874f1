"""What strangers, and users who hold little, may try at a guarded server's doors, and what it costs others."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import grpc
import pytest
from pymilvus.grpc_gen import milvus_pb2
from tests.server.guarded import ROOT, asked, denied, serve
from tests.servers import ProcessServer, alone

import redkite
from redkite.coordinator.access import AccessCoordinator, AccessRules
from redkite.errors import InvalidParameter, MilvusException
from redkite.model import access as ac
from redkite.realenv import real_env
from redkite.storage.catalog import MemoryCatalog
from redkite.wire.methods import PATHS


# -- root's first password ----------------------------------------------------------------------
@alone
def test_an_empty_file_for_the_password_of_root_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    kept = tmp_path / "data" / "root-password"
    kept.write_text("\n")
    with pytest.raises(RuntimeError, match="root-password is empty: delete it"):
        serve(tmp_path, 'host = "0.0.0.0"').stop()
    assert kept.read_text() == "\n"


@pytest.mark.parametrize("password", ["", " ", "Milvus"])
def test_a_password_of_nothing_lets_nobody_in(password: str) -> None:
    access = AccessCoordinator(MemoryCatalog(), real_env(), rules=AccessRules(root_password=""))
    assert not access.verified("root", password)
    assert not access.verified("", password)


# -- before anything is read --------------------------------------------------------------------
def test_a_call_without_the_header_is_refused_before_its_message_is_there(guarded: ProcessServer) -> None:
    enough = threading.Event()

    def slowly() -> Iterator[bytes]:
        enough.wait(30)
        yield b""

    with grpc.insecure_channel(guarded.uri.removeprefix("http://")) as channel:
        try:
            with pytest.raises(grpc.RpcError) as caught:
                channel.stream_unary(PATHS["Insert"])(slowly(), timeout=25)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert caught.value.details() == "missing authorization in header"
        finally:
            enough.set()


# -- wrong passwords in numbers -----------------------------------------------------------------
def test_wrong_passwords_hold_up_nobody_and_too_many_at_once_are_refused(guarded: ProcessServer, bob: str) -> None:
    client = redkite.MilvusClient(guarded.uri, token=ROOT, dedicated=True)
    client.list_databases()
    with grpc.insecure_channel(guarded.uri.removeprefix("http://")) as channel:
        call = channel.unary_unary(PATHS["GetVersion"])
        tries = [call.future(b"", metadata=(("authorization", _base64(f"bob:wrong{n}")),)) for n in range(100)]
        answered = 0
        while answered < 50:
            client.list_databases()
            client.describe_user("bob")
            if all(one.done() for one in tries):
                break
            answered += 1
        told = [one.exception(timeout=120) for one in tries if one.exception(timeout=120) is not None]
        whole = [one.result() for one in tries if one.exception() is None]
    client.close()
    assert answered, "whoever is known waits for those who are not"
    codes = {error.code() for error in told if isinstance(error, grpc.RpcError)}
    assert grpc.StatusCode.UNAUTHENTICATED in codes
    turned_away = [milvus_pb2.GetVersionResponse.FromString(body).status for body in whole]
    assert {status.code for status in turned_away} == {8}, (codes, len(whole))
    assert all("try again" in status.reason for status in turned_away)


# -- what a backup may say ----------------------------------------------------------------------
_BAD_STATES = {
    r"privilege \[Fly\] does not exist": ac.AccessState(
        roles=(ac.Role(name="pilot"),),
        grants=(ac.Grant(role="pilot", object_type="Global", object_name="*", privilege="Fly", database="*"),),
    ),
    r"not found the object type\[name: Bird\]": ac.AccessState(
        roles=(ac.Role(name="pilot"),),
        grants=(ac.Grant(role="pilot", object_type="Bird", object_name="*", privilege="Query", database="*"),),
    ),
    r"user \[amy\] has a role that does not exist: pilot": ac.AccessState(
        users=(ac.User(name="amy", roles=("pilot",), password_hash="$2b$10$" + "." * 53),)
    ),
    r"privilege group name \[Query\] is defined by built in": ac.AccessState(
        groups=(ac.PrivilegeGroup(name="Query", privileges=("DropCollection",)),)
    ),
    r"privilege group name \[ReadOnly\] is defined by built in": ac.AccessState(
        groups=(ac.PrivilegeGroup(name="ReadOnly", privileges=("DropCollection",)),)
    ),
    r"privilege \[Swim\] does not exist": ac.AccessState(
        groups=(ac.PrivilegeGroup(name="swimmers", privileges=("Query", "Swim")),)
    ),
}


@pytest.mark.parametrize("told", _BAD_STATES)
def test_a_backup_of_users_with_what_nobody_knows_is_not_restored(root: redkite.MilvusClient, told: str) -> None:
    with pytest.raises(InvalidParameter, match=told):
        root._run(asked(ac.RestoreAccess(state=_BAD_STATES[told])), None, {})
    assert not {"pilot"} & set(root.list_roles())
    assert "amy" not in root.list_users()


@pytest.mark.parametrize("name", ["ReadOnly", "ReadWrite", "Admin", "All", "Query", "ClusterAdmin"])
def test_a_group_of_ones_own_is_called_like_nothing_that_is_built_in(root: redkite.MilvusClient, name: str) -> None:
    with pytest.raises(MilvusException, match="is defined by built in privileges"):
        root.create_privilege_group(name)


# -- about oneself ------------------------------------------------------------------------------
def test_a_user_may_look_at_its_own_roles_and_at_no_other(
    guarded: ProcessServer, sdk: ModuleType, root: redkite.MilvusClient, bob: str
) -> None:
    root.create_role("writer")
    client = sdk.MilvusClient(guarded.uri, token=bob, dedicated=True)
    assert client.describe_role("reader")["role"] == "reader"
    assert "permission deny to bob" in denied(lambda: client.describe_role("writer"))
    assert "permission deny to bob" in denied(lambda: client.describe_role("admin"))
    client.close()
    root.drop_role("writer")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
