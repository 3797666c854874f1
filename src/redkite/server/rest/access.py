"""REST: users, roles and groups of privileges."""

from __future__ import annotations

from redkite.errors import InvalidParameter
from redkite.model import access as ac
from redkite.model.privileges import ALL, ANY
from redkite.server.rest.bodies import Body, EmptyReq
from redkite.server.rest.exchange import Endpoint, Exchange, answer


# -- bodies -------------------------------------------------------------------------------------
class UserReq(Body, frozen=True):
    required = ("user_name",)
    user_name: str = ""


class PasswordReq(Body, frozen=True):
    required = ("user_name", "password")
    user_name: str = ""
    password: str = ""
    description: str = ""


class NewPasswordReq(Body, frozen=True):
    required = ("user_name", "password", "new_password")
    user_name: str = ""
    password: str = ""
    new_password: str = ""
    description: str | None = None


class UserRoleReq(Body, frozen=True):
    required = ("user_name", "role_name")
    user_name: str = ""
    role_name: str = ""


class RoleReq(Body, frozen=True):
    required = ("role_name",)
    role_name: str = ""
    description: str = ""


class DropRoleReq(Body, frozen=True):
    required = ("role_name",)
    role_name: str = ""


class GrantReq(Body, frozen=True):
    required = ("role_name", "object_type", "object_name", "privilege")
    role_name: str = ""
    object_type: str = ""
    object_name: str = ""
    privilege: str = ""


class GrantV2Req(Body, frozen=True):
    required = ("role_name", "privilege")
    role_name: str = ""
    privilege: str = ""
    collection_name: str = ""


class PrivilegeGroupReq(Body, frozen=True):
    required = ("privilege_group_name",)
    privilege_group_name: str = ""


class PrivilegeGroupMembersReq(Body, frozen=True):
    required = ("privilege_group_name",)
    privilege_group_name: str = ""
    privileges: tuple[str, ...] = ()


# -- users --------------------------------------------------------------------------------------
async def _list_users(exchange: Exchange, _body: EmptyReq) -> bytes:
    return answer((await exchange.ask(ac.ListUsers(), ac.UserNames)).names)


async def _describe_user(exchange: Exchange, body: UserReq) -> bytes:
    found = await exchange.ask(ac.SelectUsers(name=body.user_name, with_roles=True), ac.Users)
    if not found.users:
        return answer([], description="")
    (user,) = found.users
    return answer(user.roles, description=user.description)


async def _create_user(exchange: Exchange, body: PasswordReq) -> bytes:
    request = ac.CreateUser(name=body.user_name, password=body.password, description=body.description)
    return await exchange.tell(request)


async def _update_password(exchange: Exchange, body: NewPasswordReq) -> bytes:
    request = ac.UpdateUser(
        name=body.user_name,
        old_password=body.password,
        new_password=body.new_password,
        description=body.description,
    )
    return await exchange.tell(request)


async def _drop_user(exchange: Exchange, body: UserReq) -> bytes:
    return await exchange.tell(ac.DropUser(name=body.user_name))


async def _grant_role(exchange: Exchange, body: UserRoleReq) -> bytes:
    return await exchange.tell(ac.BindRole(name=body.user_name, role=body.role_name))


async def _revoke_role(exchange: Exchange, body: UserRoleReq) -> bytes:
    return await exchange.tell(ac.BindRole(name=body.user_name, role=body.role_name, remove=True))


# -- roles --------------------------------------------------------------------------------------
async def _list_roles(exchange: Exchange, _body: EmptyReq) -> bytes:
    found = await exchange.ask(ac.SelectRoles(), ac.Roles)
    return answer([role.name for role in found.roles])


async def _describe_role(exchange: Exchange, body: DropRoleReq) -> bytes:
    roles = await exchange.ask(ac.SelectRoles(name=body.role_name), ac.Roles)
    found = await exchange.ask(ac.SelectGrants(role=body.role_name, database=body.db_name), ac.Grants)
    shown = [
        {
            "objectType": grant.object_type,
            "objectName": grant.object_name,
            "privilege": ANY if grant.privilege == ALL else grant.privilege,
            "dbName": grant.database,
            "grantor": grant.grantor,
        }
        for grant in found.grants
    ]
    return answer(shown, description=roles.roles[0].description)


async def _create_role(exchange: Exchange, body: RoleReq) -> bytes:
    return await exchange.tell(ac.CreateRole(name=body.role_name, description=body.description))


async def _alter_role(exchange: Exchange, body: RoleReq) -> bytes:
    return await exchange.tell(ac.AlterRole(name=body.role_name, description=body.description))


async def _drop_role(exchange: Exchange, body: DropRoleReq) -> bytes:
    return await exchange.tell(ac.DropRole(name=body.role_name))


async def _grant(exchange: Exchange, body: GrantReq, revoke: bool = False) -> bytes:
    request = ac.OperatePrivilege(
        database=exchange.database,
        role=body.role_name,
        object_type=body.object_type,
        object_name=body.object_name,
        privilege=body.privilege,
        revoke=revoke,
    )
    return await exchange.tell(request)


async def _revoke(exchange: Exchange, body: GrantReq) -> bytes:
    return await _grant(exchange, body, revoke=True)


async def _grant_v2(exchange: Exchange, body: GrantV2Req, revoke: bool = False) -> bytes:
    request = ac.OperatePrivilegeV2(
        database=exchange.database,
        role=body.role_name,
        privilege=body.privilege,
        collection=body.collection_name,
        revoke=revoke,
    )
    return await exchange.tell(request)


async def _revoke_v2(exchange: Exchange, body: GrantV2Req) -> bytes:
    return await _grant_v2(exchange, body, revoke=True)


# -- groups of privileges -----------------------------------------------------------------------
async def _create_group(exchange: Exchange, body: PrivilegeGroupReq) -> bytes:
    return await exchange.tell(ac.CreatePrivilegeGroup(name=body.privilege_group_name))


async def _drop_group(exchange: Exchange, body: PrivilegeGroupReq) -> bytes:
    return await exchange.tell(ac.DropPrivilegeGroup(name=body.privilege_group_name))


async def _list_groups(exchange: Exchange, _body: EmptyReq) -> bytes:
    found = await exchange.ask(ac.ListPrivilegeGroups(), ac.PrivilegeGroups)
    shown = [{"privilegeGroupName": group.name, "privileges": ",".join(group.privileges)} for group in found.groups]
    return answer({"privilegeGroups": shown})


async def _change_group(exchange: Exchange, body: PrivilegeGroupMembersReq, remove: bool = False) -> bytes:
    if not body.privileges:
        raise InvalidParameter("privileges must name at least one privilege")
    request = ac.ChangePrivilegeGroup(name=body.privilege_group_name, privileges=body.privileges, remove=remove)
    return await exchange.tell(request)


async def _shrink_group(exchange: Exchange, body: PrivilegeGroupMembersReq) -> bytes:
    return await _change_group(exchange, body, remove=True)


ENDPOINTS = {
    "users/list": Endpoint(EmptyReq, _list_users),
    "users/describe": Endpoint(UserReq, _describe_user),
    "users/create": Endpoint(PasswordReq, _create_user),
    "users/update_password": Endpoint(NewPasswordReq, _update_password),
    "users/drop": Endpoint(UserReq, _drop_user),
    "users/grant_role": Endpoint(UserRoleReq, _grant_role),
    "users/revoke_role": Endpoint(UserRoleReq, _revoke_role),
    "roles/list": Endpoint(EmptyReq, _list_roles),
    "roles/describe": Endpoint(DropRoleReq, _describe_role),
    "roles/create": Endpoint(RoleReq, _create_role),
    "roles/alter": Endpoint(RoleReq, _alter_role),
    "roles/drop": Endpoint(DropRoleReq, _drop_role),
    "roles/grant_privilege": Endpoint(GrantReq, _grant),
    "roles/revoke_privilege": Endpoint(GrantReq, _revoke),
    "roles/grant_privilege_v2": Endpoint(GrantV2Req, _grant_v2),
    "roles/revoke_privilege_v2": Endpoint(GrantV2Req, _revoke_v2),
    "privilege_groups/create": Endpoint(PrivilegeGroupReq, _create_group),
    "privilege_groups/drop": Endpoint(PrivilegeGroupReq, _drop_group),
    "privilege_groups/list": Endpoint(EmptyReq, _list_groups),
    "privilege_groups/add_privileges_to_group": Endpoint(PrivilegeGroupMembersReq, _change_group),
    "privilege_groups/remove_privileges_from_group": Endpoint(PrivilegeGroupMembersReq, _shrink_group),
}
