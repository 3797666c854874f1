package redkite;

import static redkite.Steps.*;

import io.milvus.v2.client.MilvusClientV2;
import io.milvus.v2.service.rbac.request.AddPrivilegesToGroupReq;
import io.milvus.v2.service.rbac.request.CreatePrivilegeGroupReq;
import io.milvus.v2.service.rbac.request.CreateRoleReq;
import io.milvus.v2.service.rbac.request.CreateUserReq;
import io.milvus.v2.service.rbac.request.DescribeRoleReq;
import io.milvus.v2.service.rbac.request.DescribeUserReq;
import io.milvus.v2.service.rbac.request.DropPrivilegeGroupReq;
import io.milvus.v2.service.rbac.request.DropRoleReq;
import io.milvus.v2.service.rbac.request.DropUserReq;
import io.milvus.v2.service.rbac.request.GrantPrivilegeReq;
import io.milvus.v2.service.rbac.request.GrantPrivilegeReqV2;
import io.milvus.v2.service.rbac.request.GrantRoleReq;
import io.milvus.v2.service.rbac.request.RemovePrivilegesFromGroupReq;
import io.milvus.v2.service.rbac.request.RevokePrivilegeReq;
import io.milvus.v2.service.rbac.request.RevokePrivilegeReqV2;
import io.milvus.v2.service.rbac.request.RevokeRoleReq;
import io.milvus.v2.service.rbac.request.UpdatePasswordReq;
import io.milvus.v2.service.vector.request.DeleteReq;
import io.milvus.v2.service.vector.request.QueryReq;
import java.util.List;

/** Users, roles, rights and groups of rights. */
final class Rights {
    private static final String USER = "java_user";
    private static final String ROLE = "java_role";
    private static final String GROUP = "java_group";
    private final MilvusClientV2 client;
    private final boolean guarded;

    Rights(MilvusClientV2 client, boolean guarded) {
        this.client = client;
        this.guarded = guarded;
    }

    void run() {
        step("users, roles and rights", this::give);
        step("groups of rights", this::groups);
        if (guarded) {
            step("a user may do what was granted, and no more", this::use);
        }
        step("rights are taken back", this::takeBack);
    }

    private void give() {
        client.createUser(CreateUserReq.builder().userName(USER).password("Secret1!").build());
        contains("users", client.listUsers(), USER);
        client.updatePassword(
                UpdatePasswordReq.builder().userName(USER).password("Secret1!").newPassword("Secret2!").build());
        client.createRole(CreateRoleReq.builder().roleName(ROLE).build());
        contains("roles", client.listRoles(), ROLE);
        client.grantRole(GrantRoleReq.builder().userName(USER).roleName(ROLE).build());
        same("roles of the user", client.describeUser(DescribeUserReq.builder().userName(USER).build()).getRoles(),
                List.of(ROLE));
        client.grantPrivilege(GrantPrivilegeReq.builder().roleName(ROLE).objectType("Collection").privilege("Search")
                .objectName(BIRDS).build());
        client.grantPrivilegeV2(GrantPrivilegeReqV2.builder().roleName(ROLE).privilege("Query").dbName("default")
                .collectionName(BIRDS).build());
        List<String> found = client.describeRole(DescribeRoleReq.builder().roleName(ROLE).build()).getGrantInfos()
                .stream().map(grant -> grant.getObjectName() + "." + grant.getPrivilege()).sorted().toList();
        same("grants", found, List.of(BIRDS + ".Query", BIRDS + ".Search"));
    }

    private void groups() {
        client.createPrivilegeGroup(CreatePrivilegeGroupReq.builder().groupName(GROUP).build());
        client.addPrivilegesToGroup(
                AddPrivilegesToGroupReq.builder().groupName(GROUP).privileges(List.of("Insert", "Delete")).build());
        client.removePrivilegesFromGroup(
                RemovePrivilegesFromGroupReq.builder().groupName(GROUP).privileges(List.of("Insert")).build());
        client.listPrivilegeGroups(io.milvus.v2.service.rbac.request.ListPrivilegeGroupsReq.builder().build())
                .getPrivilegeGroups().stream().filter(group -> group.getGroupName().equals(GROUP))
                .forEach(group -> same("group", group.getPrivileges(), List.of("Delete")));
    }

    private void use() throws Exception {
        MilvusClientV2 other = Main.connect("default", USER + ":Secret2!");
        same("rows", Changes.count(other, BIRDS, "id < 10"), 10L);
        refused("permission deny", () ->
                other.delete(DeleteReq.builder().collectionName(BIRDS).ids(List.of(1L)).build()));
        other.close();
        refused("auth check failure", () -> Main.connect("default", USER + ":Secret1!")
                .query(QueryReq.builder().collectionName(BIRDS).filter("id < 10").build()));
    }

    private void takeBack() {
        client.revokePrivilege(RevokePrivilegeReq.builder().roleName(ROLE).objectType("Collection").privilege("Search")
                .objectName(BIRDS).build());
        client.revokePrivilegeV2(RevokePrivilegeReqV2.builder().roleName(ROLE).privilege("Query").dbName("default")
                .collectionName(BIRDS).build());
        client.revokeRole(RevokeRoleReq.builder().userName(USER).roleName(ROLE).build());
        client.dropRole(DropRoleReq.builder().roleName(ROLE).build());
        client.dropUser(DropUserReq.builder().userName(USER).build());
        client.dropPrivilegeGroup(DropPrivilegeGroupReq.builder().groupName(GROUP).build());
    }
}
