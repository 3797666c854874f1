"""Users, roles and grants, as callers meet them: pymilvus, our own client and REST against one guarded server."""

from __future__ import annotations

import base64
import datetime as dt
import ssl
import urllib.request
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType

import grpc
import pymilvus
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.server.guarded import ROOT, asked, denied, serve
from tests.server.rest_client import Rest
from tests.servers import ProcessServer, alone

import redkite
from redkite.errors import ConnectError, InvalidParameter, MilvusException, NotAuthenticated
from redkite.model import access as ac
from redkite.model import requests as rq
from redkite.model.advice import AdviseIndex, MeasureRecall
from redkite.proxy.rules.access_table import NEEDS, OPEN
from redkite.wire.methods import METHODS, PATHS


@pytest.fixture
def birds(root: redkite.MilvusClient) -> Iterator[str]:
    root.create_collection("birds", dimension=4)
    root.insert("birds", [{"id": 1, "vector": [1, 2, 3, 4]}])
    yield "birds"
    root.drop_collection("birds")


# -- who is it? ---------------------------------------------------------------------------------
@pytest.mark.parametrize("token", ["", "root:wrong!", "nobody:Milvus", "no-such-key"])
def test_nobody_gets_in_without_the_right_password(guarded: ProcessServer, token: str) -> None:
    with pytest.raises(NotAuthenticated):
        redkite.MilvusClient(guarded.uri, token=token, timeout=30)
    assert Rest(guarded.uri).post("collections/list", {"dbName": "default"}, Authorization=token).status_code == 401


def test_pymilvus_does_not_get_in_with_a_wrong_password(guarded: ProcessServer) -> None:
    with pytest.raises(pymilvus.MilvusException):
        pymilvus.MilvusClient(guarded.uri, token="root:wrong!", timeout=2)


def test_a_token_that_is_not_base64_is_refused_as_such(guarded: ProcessServer) -> None:
    channel = grpc.insecure_channel(guarded.uri.removeprefix("http://"))
    call = channel.unary_unary(PATHS["GetVersion"])
    for token, told in (("???", "invalid token format"), ("", "invalid token format")):
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", metadata=(("authorization", token),))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        if token:
            assert caught.value.details() == told
    channel.close()


@pytest.mark.parametrize(
    "header",
    ["Bearer root:Milvus", "root:Milvus", "bearer root:Milvus", "Basic " + base64.b64encode(ROOT.encode()).decode()],
)
def test_rest_takes_each_form_of_the_header(guarded: ProcessServer, header: str) -> None:
    assert "root" in Rest(guarded.uri).ok("users/list", {}, Authorization=header)


def test_rest_tells_strangers_as_milvus_does(guarded: ProcessServer) -> None:
    response = Rest(guarded.uri).post("users/list", {})
    assert (response.status_code, response.json()) == (401, {"code": 1800, "message": "user hasn't authenticated"})


def test_health_needs_no_password(guarded: ProcessServer) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{guarded.metrics_port}/healthz", timeout=30) as answer:
        assert answer.status == 200


# -- what may they? -----------------------------------------------------------------------------
def test_a_user_may_do_what_was_granted_and_no_more(
    guarded: ProcessServer, sdk: ModuleType, root: redkite.MilvusClient, birds: str, bob: str
) -> None:
    client = sdk.MilvusClient(guarded.uri, token=bob, dedicated=True)
    told = denied(lambda: client.query(birds, filter="id >= 0"))
    assert told == "PrivilegeQuery: permission deny to bob in the `default` database"
    root.grant_privilege("reader", "Collection", "Query", birds)
    assert [row["id"] for row in client.query(birds, filter="id >= 0")] == [1]
    assert "PrivilegeSearch" in denied(lambda: client.search(birds, data=[[1, 2, 3, 4]]))
    root.revoke_privilege("reader", "Collection", "Query", birds)
    denied(lambda: client.query(birds, filter="id >= 0"))
    assert "PrivilegeDropCollection" in denied(lambda: client.drop_collection(birds))
    assert "PrivilegeCreateOwnership" in denied(lambda: client.create_user("eve", "secret"))
    client.close()


def test_a_grant_of_the_second_kind_covers_a_group(
    guarded: ProcessServer, sdk: ModuleType, root: redkite.MilvusClient, birds: str, bob: str
) -> None:
    client = sdk.MilvusClient(guarded.uri, token=bob, dedicated=True)
    root.grant_privilege_v2("reader", "CollectionReadOnly", birds)
    assert client.search(birds, data=[[1, 2, 3, 4]])[0][0]["id"] == 1
    assert "PrivilegeInsert" in denied(lambda: client.insert(birds, [{"id": 2, "vector": [1, 1, 1, 1]}]))
    root.grant_privilege_v2("reader", "CollectionReadWrite", "*")
    assert client.insert(birds, [{"id": 2, "vector": [1, 1, 1, 1]}])["insert_count"] == 1
    client.close()


def test_a_group_of_ones_own_counts_as_its_members(
    guarded: ProcessServer, root: redkite.MilvusClient, birds: str, bob: str
) -> None:
    root.create_privilege_group("writers")
    root.add_privileges_to_group("writers", ["Insert", "Delete"])
    with pytest.raises(MilvusException, match="not the same privilege level"):
        root.add_privileges_to_group("writers", ["CreateDatabase"])
    root.grant_privilege_v2("reader", "writers", birds)
    client = redkite.MilvusClient(guarded.uri, token=bob)
    client.delete(birds, ids=[1])
    with pytest.raises(MilvusException, match=r"used by role \[reader\], Use REVOKE API"):
        root.drop_privilege_group("writers")
    root.remove_privileges_from_group("writers", ["Delete"])
    denied(lambda: client.delete(birds, ids=[1]))
    root.revoke_privilege_v2("reader", "writers", birds)
    root.drop_privilege_group("writers")
    client.close()


def test_lists_show_only_what_a_grant_names(
    guarded: ProcessServer, sdk: ModuleType, root: redkite.MilvusClient, birds: str, bob: str
) -> None:
    root.create_collection("hidden", dimension=4)
    root.create_database("elsewhere")
    root.grant_privilege("reader", "Collection", "Query", birds)
    client = sdk.MilvusClient(guarded.uri, token=bob, dedicated=True)
    assert client.list_collections() == [birds]
    assert client.list_databases() == ["default"]
    assert {birds, "hidden"} <= set(root.list_collections())
    root.drop_collection("hidden")
    root.drop_database("elsewhere")
    client.close()


def test_an_alias_is_what_it_stands_for(
    guarded: ProcessServer, root: redkite.MilvusClient, birds: str, bob: str
) -> None:
    root.create_alias(birds, "fowl")
    root.grant_privilege("reader", "Collection", "Query", "fowl")
    client = redkite.MilvusClient(guarded.uri, token=bob)
    assert len(client.query("fowl", filter="id >= 0")) == len(client.query(birds, filter="id >= 0")) == 1
    root.drop_alias("fowl")
    client.close()


def test_who_manages_a_collection_manages_its_aliases_and_no_others(
    guarded: ProcessServer, root: redkite.MilvusClient, birds: str, bob: str
) -> None:
    root.create_collection("fish", dimension=4)
    root.create_alias("fish", "cod")
    root.create_alias(birds, "fowl")
    root.grant_privilege_v2("reader", "CollectionReadOnly", birds)
    client = pymilvus.MilvusClient(guarded.uri, token=bob)
    assert client.describe_alias("fowl")["collection_name"] == birds
    for alias in ("cod", "nobody"):
        denied(lambda name=alias: client.describe_alias(name))
    denied(lambda: client.drop_alias("fowl"))
    root.grant_privilege_v2("reader", "CollectionAdmin", birds)
    denied(lambda: client.alter_alias(birds, "cod"))
    denied(lambda: client.drop_alias("cod"))
    client.create_alias(birds, "ducks")
    client.alter_alias(birds, "fowl")
    client.drop_alias("ducks")
    assert root.describe_alias("cod")["collection_name"] == "fish"
    root.drop_alias("cod")
    root.drop_alias("fowl")
    root.drop_collection("fish")
    client.close()


def test_a_grant_in_one_database_says_nothing_of_another(
    guarded: ProcessServer, root: redkite.MilvusClient, birds: str, bob: str
) -> None:
    root.create_database("other")
    root.grant_privilege_v2("reader", "Query", "*", db_name="other")
    client = redkite.MilvusClient(guarded.uri, token=bob)
    denied(lambda: client.query(birds, filter="id >= 0"))
    root.drop_database("other")
    client.close()


def test_rest_denies_with_403(guarded: ProcessServer, birds: str, bob: str) -> None:
    response = Rest(guarded.uri).post(
        "entities/query", {"collectionName": birds, "filter": "id >= 0"}, Authorization=f"Bearer {bob}"
    )
    assert response.status_code == 403
    body = response.json()
    assert body["code"] == 65535
    assert "PrivilegeQuery: permission deny to bob in the `default` database" in body["message"]


def test_a_user_may_change_its_own_password_and_nobody_elses(
    guarded: ProcessServer, sdk: ModuleType, root: redkite.MilvusClient, bob: str
) -> None:
    client = sdk.MilvusClient(guarded.uri, token=bob, dedicated=True)
    assert client.describe_user("bob")["roles"] == ("reader",)
    with pytest.raises(Exception, match="old password not correct for bob"):
        client.update_password("bob", "wrong password", "secret2")
    client.update_password("bob", "secret1", "secret2", reset_connection=True)
    assert client.describe_user("bob")["user_name"] == "bob"
    with pytest.raises(NotAuthenticated):
        redkite.MilvusClient(guarded.uri, token=bob, timeout=30)
    assert "PrivilegeUpdateUser" in denied(lambda: client.update_password("root", "Milvus", "secret3"))
    client.close()


async def test_an_awaited_client_goes_on_with_its_new_password(
    guarded: ProcessServer, root: redkite.MilvusClient, bob: str
) -> None:
    client = redkite.AsyncMilvusClient(guarded.uri, token=bob)
    await client.update_password("bob", "secret1", "secret2", reset_connection=True)
    assert (await client.describe_user("bob"))["user_name"] == "bob"
    await client.close()


def test_a_super_user_need_not_know_the_old_password(
    guarded: ProcessServer, root: redkite.MilvusClient, bob: str
) -> None:
    root.create_user("boss", "secret1")
    root.grant_role("boss", "admin")
    boss = redkite.MilvusClient(guarded.uri, token="boss:secret1")
    boss.update_password("bob", "", "secret9")
    redkite.MilvusClient(guarded.uri, token="bob:secret9").close()
    boss.close()
    root.drop_user("boss")


def test_an_api_key_stands_for_its_user_until_it_is_dropped(
    guarded: ProcessServer, sdk: ModuleType, root: redkite.MilvusClient, birds: str, bob: str
) -> None:
    root.grant_privilege_v2("reader", "Query", birds)
    key = root.create_api_key("ci", "bob")
    assert [(k["key_name"], k["user_name"]) for k in root.list_api_keys()] == [("ci", "bob")]
    assert key not in repr(root.list_api_keys())
    with pytest.raises(InvalidParameter, match="an API key named ci already exists"):
        root.create_api_key("ci", "bob")
    client = sdk.MilvusClient(guarded.uri, token=key)
    assert len(client.query(birds, filter="id >= 0")) == 1
    shown = "permission deny to apikey ci in the `default` database"  # the key, not whose it is
    assert shown in denied(lambda: client.drop_collection(birds))
    rest = Rest(guarded.uri)
    refused = rest.post("collections/drop", {"collectionName": birds}, Authorization=f"Bearer {key}")
    assert refused.status_code == 403
    assert shown in refused.json()["message"]
    assert rest.ok("collections/list", {}, Authorization=f"Bearer {key}") == [birds]
    root.drop_api_key("ci")
    with pytest.raises((grpc.RpcError, NotAuthenticated)):
        client.query(birds, filter="id >= 0")
    client.close()


def test_a_dropped_user_is_out_at_once(guarded: ProcessServer, root: redkite.MilvusClient) -> None:
    root.create_user("guest", "secret1")
    client = redkite.MilvusClient(guarded.uri, token="guest:secret1")
    client.list_collections()
    root.drop_user("guest")
    with pytest.raises(NotAuthenticated):
        client.list_collections()
    client.close()


def test_what_is_asked_of_users_and_roles_is_checked(root: redkite.MilvusClient, bob: str) -> None:
    told = {
        "invalid user name 1a, the first character must be a letter": lambda: root.create_user("1a", "secret1"),
        "user already exists: bob": lambda: root.create_user("bob", "secret1"),
        "root user cannot be deleted": lambda: root.drop_user("root"),
        "the role.admin. is a default role, which can't be dropped": lambda: root.drop_role("admin"),
        'role .name:"reader". already exists': lambda: root.create_role("reader"),
        "not found the role, maybe the role isn't existed": lambda: root.drop_role("nothing"),
        'user "nobody" not found': lambda: root.grant_role("nobody", "reader"),
        r"not found the privilege name\[Fly\]": lambda: root.grant_privilege_v2("reader", "Fly", "*"),
        r"not found the object type\[name: Bird\]": lambda: root.grant_privilege("reader", "Bird", "Query", "*"),
        r"not found the privilege name\[Query\] in object\[Global\]": (
            lambda: root.grant_privilege("reader", "Global", "Query", "*")
        ),
        r"dbName and collectionName should be \* for the cluster level privilege: ClusterAdmin": (
            lambda: root.grant_privilege_v2("reader", "ClusterAdmin", "birds")
        ),
        r"collectionName should be \* for the database level privilege": (
            lambda: root.grant_privilege_v2("reader", "DatabaseAdmin", "birds", db_name="default")
        ),
        "is defined by built in privileges": lambda: root.create_privilege_group("CollectionAdmin"),
    }
    for message, call in told.items():
        with pytest.raises(MilvusException, match=message):
            call()
    root.grant_privilege_v2("reader", "Query", "*")
    with pytest.raises(InvalidParameter, match="fail to drop the role that it has privileges"):
        root.drop_role("reader")


def test_no_answer_shows_a_password(root: redkite.MilvusClient, bob: str) -> None:
    assert "secret1" not in repr(root.describe_user("bob"))
    with pytest.raises(InvalidParameter) as caught:
        root.create_user("eve", "x")
    assert "invalid password length" in str(caught.value)


def test_rest_grants_as_the_sdk_does(guarded: ProcessServer, birds: str, bob: str) -> None:
    rest, head = Rest(guarded.uri), {"Authorization": f"Bearer {ROOT}"}
    rest.ok("roles/grant_privilege_v2", {"roleName": "reader", "privilege": "Query", "collectionName": birds}, **head)
    whole = rest.whole("roles/describe", {"roleName": "reader"}, **head)
    assert whole["data"] == [
        {"objectType": "Collection", "objectName": birds, "privilege": "Query", "dbName": "default", "grantor": "root"}
    ]
    assert rest.ok("entities/query", {"collectionName": birds, "filter": "id >= 0"}, Authorization=f"Bearer {bob}")
    assert rest.ok("users/describe", {"userName": "bob"}, **head) == ["reader"]
    rest.ok("users/update_password", {"userName": "bob", "password": "secret1", "newPassword": "secret5"}, **head)
    groups = rest.ok("privilege_groups/list", {}, **head)["privilegeGroups"]
    named = {group["privilegeGroupName"]: group["privileges"].split(",") for group in groups}
    assert "Query" in named["CollectionReadOnly"]


# -- every door: tests/server/test_matrix.py -----------------------------------------------------
def test_every_request_that_can_be_sent_is_in_a_table_or_for_admins_alone() -> None:
    for_admins = {
        ac.CreateApiKey, ac.DropApiKey, ac.ListApiKeys, ac.CreateRowPolicy, ac.DropRowPolicy, ac.ListRowPolicies,
        rq.CreateBackup, rq.RestoreBackup, rq.VerifyBackup,
        rq.DeleteBackup, rq.ListBackups, rq.GetBackupJob,
    }  # fmt: skip
    sent = {request for _, _, request in METHODS.values()} | {MeasureRecall, AdviseIndex}
    assert sent - OPEN - NEEDS.keys() <= for_admins


# -- everything at once -------------------------------------------------------------------------
def test_a_backup_of_users_and_roles_can_be_brought_to_another_server(
    root: redkite.MilvusClient, bob: str, tmp_path: Path
) -> None:
    root.grant_privilege_v2("reader", "Query", "*")
    state = root._run(asked(ac.BackupAccess()), None, {})
    with serve(tmp_path, 'authorization = "on"') as other, redkite.MilvusClient(other.uri, token=ROOT) as there:
        there._run(asked(ac.RestoreAccess(state=state)), None, {})
        redkite.MilvusClient(other.uri, token=bob).close()
        assert there.describe_role("reader")["privileges"][0]["privilege"] == "Query"
        with pytest.raises(InvalidParameter, match=r"role \[reader\] already exists"):
            there._run(asked(ac.RestoreAccess(state=state)), None, {})


@alone
def test_users_and_grants_survive_a_restart(tmp_path: Path) -> None:
    with serve(tmp_path, 'authorization = "on"') as server, redkite.MilvusClient(server.uri, token=ROOT) as client:
        client.create_user("bob", "secret1")
        client.update_password("root", "Milvus", "mine and mine alone")
    with serve(tmp_path, 'authorization = "on"') as server:
        redkite.MilvusClient(server.uri, token="bob:secret1").close()
        with pytest.raises(NotAuthenticated):
            redkite.MilvusClient(server.uri, token=ROOT, timeout=30)


@alone
def test_a_server_that_others_can_reach_asks_for_a_password_that_is_made_up(tmp_path: Path) -> None:
    with serve(tmp_path, 'host = "0.0.0.0"') as server:
        with pytest.raises(NotAuthenticated):
            redkite.MilvusClient(server.uri, token=ROOT, timeout=30)
        kept = tmp_path / "data" / "root-password"
        assert kept.stat().st_mode & 0o077 == 0
        redkite.MilvusClient(server.uri, token=f"root:{kept.read_text().strip()}").close()


def test_every_process_of_a_fleet_asks_who_calls(tmp_path: Path) -> None:
    with serve(tmp_path, 'authorization = "on"', workers=3) as server:
        root = redkite.MilvusClient(server.uri, token=ROOT)
        root.create_user("bob", "secret1")
        root.create_collection("birds", dimension=4)
        clients = [redkite.MilvusClient(server.uri, token="bob:secret1", dedicated=True) for _ in range(8)]
        for client in clients:
            denied(lambda client=client: client.query("birds", filter="id >= 0"))
            denied(lambda client=client: client.insert("birds", [{"id": 1, "vector": [1, 2, 3, 4]}]))
        root.create_role("writer")
        root.grant_role("bob", "writer")
        root.grant_privilege_v2("writer", "CollectionReadWrite", "birds")
        for number, client in enumerate(clients):
            client.insert("birds", [{"id": number, "vector": [1, 2, 3, 4]}])
            assert len(client.query("birds", filter="id >= 0")) == number + 1
            client.close()
        root.close()


# -- TLS ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's certificate and a client's, as PEM files."""
    folder = tmp_path_factory.mktemp("certificates")
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _signed("authority", authority_key, "authority", authority_key, is_authority=True)
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _signed(name, key, "authority", authority_key)
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{name}.key").write_bytes(private)
    return folder


def _signed(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, is_authority: bool = False
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(by, hashes.SHA256())
    )


def _tls(folder: Path, mutual: bool = False) -> list[str]:
    settings = [f'tls_cert = "{folder}/server.pem"', f'tls_key = "{folder}/server.key"']
    return [*settings, f'tls_client_ca = "{folder}/ca.pem"'] if mutual else settings


def test_a_server_with_a_certificate_speaks_tls_on_its_one_port(
    tmp_path: Path, certificates: Path, sdk: ModuleType
) -> None:
    with serve(tmp_path, *_tls(certificates)) as server:
        uri = f"https://localhost:{server.port}"
        client = sdk.MilvusClient(uri, server_pem_path=str(certificates / "server.pem"), server_name="localhost")
        client.create_collection("birds", dimension=4)
        assert client.list_collections() == ["birds"]
        client.close()
        trusting = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        request = urllib.request.Request(
            f"{uri}/v2/vectordb/collections/list", b"{}", {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30, context=trusting) as answer:
            assert b"birds" in answer.read()
        with pytest.raises(ConnectError):
            redkite.MilvusClient(server.uri, timeout=2)


def test_with_mutual_tls_a_client_shows_a_certificate_too(tmp_path: Path, certificates: Path) -> None:
    with serve(tmp_path, *_tls(certificates, mutual=True)) as server:
        uri = f"https://localhost:{server.port}"
        files = {
            "ca_pem_path": str(certificates / "ca.pem"),
            "client_pem_path": str(certificates / "client.pem"),
            "client_key_path": str(certificates / "client.key"),
        }
        with redkite.MilvusClient(uri, server_name="localhost", **files) as client:
            assert client.list_collections() == []
        with pytest.raises(MilvusException):
            redkite.MilvusClient(uri, server_pem_path=files["ca_pem_path"], server_name="localhost", timeout=3)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (['tls_cert = "missing.pem"'], "tls_cert and tls_key go together"),
        (['tls_cert = "missing.pem"', 'tls_key = "missing.key"'], "key missing.key cannot be used"),
        (['tls_client_ca = "ca.pem"'], "tls_client_ca goes with tls_cert and tls_key"),
    ],
)
def test_files_that_do_not_do_are_told_at_the_start(tmp_path: Path, settings: list[str], told: str) -> None:
    with pytest.raises(RuntimeError, match=told):
        serve(tmp_path, *settings)
