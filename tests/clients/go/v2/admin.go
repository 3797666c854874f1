package main

import (
	"fmt"
	"os"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/index"
	"github.com/milvus-io/milvus/client/v2/milvusclient"
)

func definitions() {
	step("describe a collection", func() {
		found := value(client.DescribeCollection(ctx, milvusclient.NewDescribeCollectionOption(birds)))
		same("name", found.Name, birds)
		same("description", found.Schema.Description, "birds of Go")
		same("shards", found.ShardNum, int32(1))
		same("level", found.ConsistencyLevel, entity.ClStrong)
		same("dynamic", found.Schema.EnableDynamicField, true)
		names := []string{}
		for _, one := range found.Schema.Fields {
			names = append(names, one.Name)
		}
		wanted := []string{}
		for _, one := range schemaOfBirds().Fields {
			wanted = append(wanted, one.Name)
		}
		same("fields", names, wanted)
		same("key", found.Schema.PKFieldName(), "id")
		same("dim", found.Schema.Fields[1].TypeParams["dim"], fmt.Sprint(dim))
		same("element", found.Schema.Fields[13].ElementType, entity.FieldTypeVarChar)
		same("nullable", found.Schema.Fields[9].Nullable, true)
		check(found.Schema.Fields[11].DefaultValue != nil, "no default value")
	})
	step("list and rename collections", func() {
		same("has", value(client.HasCollection(ctx, milvusclient.NewHasCollectionOption(birds))), true)
		same("has none", value(client.HasCollection(ctx, milvusclient.NewHasCollectionOption("go_nowhere"))), false)
		contains("collections", value(client.ListCollections(ctx, milvusclient.NewListCollectionOption())), birds)
		must(client.RenameCollection(ctx, milvusclient.NewRenameCollectionOption(texts, "go_renamed")))
		same("has", value(client.HasCollection(ctx, milvusclient.NewHasCollectionOption("go_renamed"))), true)
		must(client.RenameCollection(ctx, milvusclient.NewRenameCollectionOption("go_renamed", texts)))
	})
	step("indexes", func() {
		found := value(client.DescribeIndex(ctx, milvusclient.NewDescribeIndexOption(birds, "dense")))
		same("name", found.Name(), "dense")
		same("type", found.Params()["index_type"], "HNSW")
		same("metric", found.Params()["metric_type"], "COSINE")
		same("state", found.State, index.IndexState(3))
		contains("indexes", value(client.ListIndexes(ctx, milvusclient.NewListIndexOption(birds))), "rare")
		must(client.DropIndex(ctx, milvusclient.NewDropIndexOption(birds, "rare")))
		_, err := client.DescribeIndex(ctx, milvusclient.NewDescribeIndexOption(birds, "rare"))
		refused("a dropped index", err, "index not found")
	})
	step("properties and new fields", func() {
		must(client.AlterCollectionProperties(ctx, milvusclient.NewAlterCollectionPropertiesOption(plain).
			WithProperty("collection.ttl.seconds", 3600)))
		found := value(client.DescribeCollection(ctx, milvusclient.NewDescribeCollectionOption(plain)))
		same("ttl", found.Properties["collection.ttl.seconds"], "3600")
		must(client.DropCollectionProperties(ctx,
			milvusclient.NewDropCollectionPropertiesOption(plain, "collection.ttl.seconds")))
		must(client.AddCollectionField(ctx, milvusclient.NewAddCollectionFieldOption(plain,
			field("added", entity.FieldTypeInt64).WithNullable(true))))
		same("added", total(plain, "added is null"), int64(2))
		must(client.AlterCollectionFieldProperty(ctx, milvusclient.NewAlterCollectionFieldPropertiesOption(birds, "name").
			WithProperty("max_length", 200)))
	})
	step("aliases", func() {
		must(client.CreateAlias(ctx, milvusclient.NewCreateAliasOption(birds, "go_alias")))
		contains("aliases", value(client.ListAliases(ctx, milvusclient.NewListAliasesOption(birds))), "go_alias")
		found := value(client.DescribeAlias(ctx, milvusclient.NewDescribeAliasOption("go_alias")))
		same("collection", found.CollectionName, birds)
		same("rows by alias", total("go_alias", ""), int64(count))
		must(client.AlterAlias(ctx, milvusclient.NewAlterAliasOption("go_alias", plain)))
		same("rows by alias", total("go_alias", ""), int64(2))
		must(client.DropAlias(ctx, milvusclient.NewDropAliasOption("go_alias")))
	})
}

func databases() {
	step("databases", func() {
		const name = "go_database"
		must(client.CreateDatabase(ctx, milvusclient.NewCreateDatabaseOption(name)))
		contains("databases", value(client.ListDatabase(ctx, milvusclient.NewListDatabaseOption())), name)
		must(client.AlterDatabaseProperties(ctx, milvusclient.NewAlterDatabasePropertiesOption(name).
			WithProperty("database.max.collections", 5)))
		found := value(client.DescribeDatabase(ctx, milvusclient.NewDescribeDatabaseOption(name)))
		same("name", found.Name, name)
		same("property", found.Properties["database.max.collections"], "5")
		must(client.DropDatabaseProperties(ctx,
			milvusclient.NewDropDatabasePropertiesOption(name, "database.max.collections")))
		must(client.UseDatabase(ctx, milvusclient.NewUseDatabaseOption(name)))
		must(client.CreateCollection(ctx, milvusclient.SimpleCreateCollectionOptions("inside", dim)))
		same("collections", value(client.ListCollections(ctx, milvusclient.NewListCollectionOption())), []string{"inside"})
		other := connect(name)
		same("has", value(other.HasCollection(ctx, milvusclient.NewHasCollectionOption("inside"))), true)
		must(other.DropCollection(ctx, milvusclient.NewDropCollectionOption("inside")))
		must(other.Close(ctx))
		must(client.UseDatabase(ctx, milvusclient.NewUseDatabaseOption("default")))
		must(client.DropDatabase(ctx, milvusclient.NewDropDatabaseOption(name)))
	})
}

func rights() {
	const user, role, group = "go_user", "go_role", "go_group"
	step("users, roles and rights", func() {
		must(client.CreateUser(ctx, milvusclient.NewCreateUserOption(user, "Secret1!")))
		contains("users", value(client.ListUsers(ctx, milvusclient.NewListUserOption())), user)
		must(client.UpdatePassword(ctx, milvusclient.NewUpdatePasswordOption(user, "Secret1!", "Secret2!")))
		must(client.CreateRole(ctx, milvusclient.NewCreateRoleOption(role)))
		contains("roles", value(client.ListRoles(ctx, milvusclient.NewListRoleOption())), role)
		must(client.GrantRole(ctx, milvusclient.NewGrantRoleOption(user, role)))
		same("roles of the user", value(client.DescribeUser(ctx, milvusclient.NewDescribeUserOption(user))).Roles,
			[]string{role})
		must(client.GrantPrivilege(ctx, milvusclient.NewGrantPrivilegeOption(role, "Collection", "Search", birds)))
		must(client.GrantPrivilegeV2(ctx, milvusclient.NewGrantPrivilegeV2Option(role, "Query", birds).
			WithDbName("default")))
		described := value(client.DescribeRole(ctx, milvusclient.NewDescribeRoleOption(role)))
		found := []string{}
		for _, grant := range described.Privileges {
			same("collection", grant.ObjectName, birds)
			found = append(found, grant.Privilege)
		}
		same("grants", len(found), 2)
		contains("grants", found, "Search")
		contains("grants", found, "Query")
		must(client.CreatePrivilegeGroup(ctx, milvusclient.NewCreatePrivilegeGroupOption(group)))
		must(client.OperatePrivilegeGroup(ctx, milvusclient.NewOperatePrivilegeGroupOption(group,
			[]*milvuspb.PrivilegeEntity{{Name: "Insert"}}, milvuspb.OperatePrivilegeGroupType_AddPrivilegesToGroup)))
		must(client.AddPrivilegesToGroup(ctx, milvusclient.NewAddPrivilegesToGroupOption(group, "Delete")))
		must(client.RemovePrivilegesFromGroup(ctx, milvusclient.NewRemovePrivilegesFromGroupOption(group, "Insert")))
		for _, one := range value(client.ListPrivilegeGroups(ctx, milvusclient.NewListPrivilegeGroupsOption())) {
			if one.GroupName == group {
				same("group", one.Privileges, []string{"Delete"})
			}
		}
	})
	if len(os.Args) > 3 {
		step("a user may do what was granted, and no more", func() {
			other := value(milvusclient.New(ctx, configOf(user, "Secret2!")))
			value(other.Search(ctx, search(3, 1)))
			_, err := other.Delete(ctx, milvusclient.NewDeleteOption(birds).WithInt64IDs("id", []int64{1}))
			refused("a delete", err, "permission deny")
			must(other.Close(ctx))
			_, err = milvusclient.New(ctx, configOf(user, "Secret1!"))
			refused("an old password", err, "auth check failure")
		})
	}
	step("rights are taken back", func() {
		must(client.RevokePrivilege(ctx, milvusclient.NewRevokePrivilegeOption(role, "Collection", "Search", birds)))
		must(client.RevokePrivilegeV2(ctx, milvusclient.NewRevokePrivilegeV2Option(role, "Query", birds).
			WithDbName("default")))
		must(client.RevokeRole(ctx, milvusclient.NewRevokeRoleOption(user, role)))
		must(client.DropRole(ctx, milvusclient.NewDropRoleOption(role)))
		must(client.DropUser(ctx, milvusclient.NewDropUserOption(user)))
		must(client.DropPrivilegeGroup(ctx, milvusclient.NewDropPrivilegeGroupOption(group)))
	})
}

func upkeep() {
	step("flush, compact, statistics", func() {
		task := value(client.Flush(ctx, milvusclient.NewFlushOption(birds)))
		must(task.Await(ctx))
		same("rows", value(client.GetCollectionStats(ctx, milvusclient.NewGetCollectionStatsOption(birds)))["row_count"],
			fmt.Sprint(count))
		segments := value(client.GetPersistentSegmentInfo(ctx, milvusclient.NewGetPersistentSegmentInfoOption(birds)))
		rows := int64(0)
		for _, one := range segments {
			rows += one.NumRows
		}
		check(rows >= count, "segments hold %d rows", rows)
		id := value(client.Compact(ctx, milvusclient.NewCompactOption(birds)))
		state := value(client.GetCompactionState(ctx, milvusclient.NewGetCompactionStateOption(id)))
		check(state == entity.CompactionStateCompleted || state == entity.CompactionStateRunning, "state %v", state)
		refreshed := value(client.RefreshLoad(ctx, milvusclient.NewRefreshLoadOption(birds)))
		must(refreshed.Await(ctx))
		version := value(client.GetServerVersion(ctx, milvusclient.NewGetServerVersionOption()))
		check(version != "", "no version")
		replicas := value(client.DescribeReplica(ctx, milvusclient.NewDescribeReplicaOption(birds)))
		same("replicas", len(replicas), 1)
		contains("resource groups", value(client.ListResourceGroups(ctx, milvusclient.NewListResourceGroupsOption())),
			"__default_resource_group")
	})
	step("release and drop", func() {
		must(client.ReleaseCollection(ctx, milvusclient.NewReleaseCollectionOption(birds)))
		state := value(client.GetLoadState(ctx, milvusclient.NewGetLoadStateOption(birds)))
		same("load state", state.State, entity.LoadStateCode(entity.LoadStateNotLoad))
		must(client.AlterIndexProperties(ctx, milvusclient.NewAlterIndexPropertiesOption(birds, "dense").
			WithProperty("mmap.enabled", true)))
		must(client.DropIndexProperties(ctx, milvusclient.NewDropIndexPropertiesOption(birds, "dense", "mmap.enabled")))
		_, err := client.Search(ctx, search(3, 1))
		refused("a search", err, "collection not loaded")
		for _, name := range []string{birds, plain, texts} {
			must(client.DropCollection(ctx, milvusclient.NewDropCollectionOption(name)))
			same("has", value(client.HasCollection(ctx, milvusclient.NewHasCollectionOption(name))), false)
		}
	})
}
