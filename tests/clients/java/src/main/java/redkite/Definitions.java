package redkite;

import static redkite.Steps.*;

import io.milvus.v2.client.MilvusClientV2;
import io.milvus.v2.common.ConsistencyLevel;
import io.milvus.v2.common.DataType;
import io.milvus.v2.common.IndexBuildState;
import io.milvus.v2.common.IndexParam;
import io.milvus.v2.service.collection.request.AddCollectionFieldReq;
import io.milvus.v2.service.collection.request.AlterCollectionFieldReq;
import io.milvus.v2.service.collection.request.AlterCollectionPropertiesReq;
import io.milvus.v2.service.collection.request.CreateCollectionReq;
import io.milvus.v2.service.collection.request.DescribeCollectionReq;
import io.milvus.v2.service.collection.request.DropCollectionPropertiesReq;
import io.milvus.v2.service.collection.request.DropCollectionReq;
import io.milvus.v2.service.collection.request.HasCollectionReq;
import io.milvus.v2.service.collection.request.RenameCollectionReq;
import io.milvus.v2.service.collection.response.DescribeCollectionResp;
import io.milvus.v2.service.database.request.CreateDatabaseReq;
import io.milvus.v2.service.database.request.DescribeDatabaseReq;
import io.milvus.v2.service.database.request.DropDatabaseReq;
import io.milvus.v2.service.index.request.DescribeIndexReq;
import io.milvus.v2.service.index.request.DropIndexReq;
import io.milvus.v2.service.index.request.ListIndexesReq;
import io.milvus.v2.service.index.response.DescribeIndexResp;
import io.milvus.v2.service.utility.request.AlterAliasReq;
import io.milvus.v2.service.utility.request.CreateAliasReq;
import io.milvus.v2.service.utility.request.DescribeAliasReq;
import io.milvus.v2.service.utility.request.DropAliasReq;
import io.milvus.v2.service.utility.request.ListAliasesReq;
import java.util.List;
import java.util.Map;

/** Collections described and changed, indexes, aliases, databases. */
final class Definitions {
    private final MilvusClientV2 client;

    Definitions(MilvusClientV2 client) {
        this.client = client;
    }

    void run() {
        step("describe a collection", this::describe);
        step("list and rename collections", this::rename);
        step("indexes", this::indexes);
        step("properties and new fields", this::properties);
        step("aliases", this::aliases);
        step("databases", this::databases);
    }

    private DescribeCollectionResp described(String name) {
        return client.describeCollection(DescribeCollectionReq.builder().collectionName(name).build());
    }

    private boolean has(MilvusClientV2 client, String name) {
        return client.hasCollection(HasCollectionReq.builder().collectionName(name).build());
    }

    private void describe() {
        DescribeCollectionResp found = described(BIRDS);
        same("name", found.getCollectionName(), BIRDS);
        same("database", found.getDatabaseName(), "default");
        same("description", found.getDescription(), "birds of Java");
        same("shards", found.getShardsNum(), 1);
        same("level", found.getConsistencyLevel(), ConsistencyLevel.STRONG);
        same("dynamic", found.getEnableDynamicField(), true);
        same("partitions", found.getNumOfPartitions(), 1L);
        same("key", found.getPrimaryFieldName(), "id");
        same("vectors", found.getVectorFieldNames(), List.of("dense", "half", "bits", "words"));
        same("fields", found.getFieldNames().size(), 16);
        same("dimension", found.getCollectionSchema().getField("dense").getDimension(), DIM);
        same("element", found.getCollectionSchema().getField("tags").getElementType(), DataType.VarChar);
        same("nullable", found.getCollectionSchema().getField("number").getIsNullable(), true);
        same("default", found.getCollectionSchema().getField("span").getDefaultValue(), 1.5);
        check(found.getCreateUtcTime() > 0, "no time");
    }

    private void rename() {
        same("has", has(client, BIRDS), true);
        same("has none", has(client, "java_nowhere"), false);
        contains("collections", client.listCollections().getCollectionNames(), BIRDS);
        client.renameCollection(
                RenameCollectionReq.builder().collectionName(TEXTS).newCollectionName("java_renamed").build());
        same("has", has(client, "java_renamed"), true);
        client.renameCollection(
                RenameCollectionReq.builder().collectionName("java_renamed").newCollectionName(TEXTS).build());
    }

    private void indexes() throws Exception {
        DescribeIndexResp.IndexDesc found = client.describeIndex(
                DescribeIndexReq.builder().collectionName(BIRDS).fieldName("dense").build()).getIndexDescByFieldName("dense");
        same("type", found.getIndexType(), IndexParam.IndexType.HNSW);
        same("metric", found.getMetricType(), IndexParam.MetricType.COSINE);
        same("state", found.getIndexState(), IndexBuildState.Finished);
        contains("indexes", client.listIndexes(ListIndexesReq.builder().collectionName(BIRDS).build()), "rare");
        client.dropIndex(DropIndexReq.builder().collectionName(BIRDS).fieldName("rare").build());
        refused("index not found", () -> client.describeIndex(
                DescribeIndexReq.builder().collectionName(BIRDS).indexName("rare").build()));
    }

    private void properties() {
        client.alterCollectionProperties(AlterCollectionPropertiesReq.builder().collectionName(PLAIN)
                .property("collection.ttl.seconds", "3600").build());
        same("ttl", described(PLAIN).getProperties().get("collection.ttl.seconds"), "3600");
        client.dropCollectionProperties(DropCollectionPropertiesReq.builder().collectionName(PLAIN)
                .propertyKeys(List.of("collection.ttl.seconds")).build());
        client.addCollectionField(AddCollectionFieldReq.builder().collectionName(PLAIN).fieldName("added")
                .dataType(DataType.Int64).isNullable(true).build());
        same("added", Changes.count(client, PLAIN, "added is null"), 2L);
        client.alterCollectionField(AlterCollectionFieldReq.builder().collectionName(BIRDS).fieldName("name")
                .properties(Map.of("max_length", "200")).build());
        same("length", described(BIRDS).getCollectionSchema().getField("name").getMaxLength(), 200);
    }

    private void aliases() {
        client.createAlias(CreateAliasReq.builder().collectionName(BIRDS).alias("java_alias").build());
        same("aliases", client.listAliases(ListAliasesReq.builder().collectionName(BIRDS).build()).getAlias(),
                List.of("java_alias"));
        same("collection", client.describeAlias(DescribeAliasReq.builder().alias("java_alias").build())
                .getCollectionName(), BIRDS);
        same("rows", Changes.count(client, "java_alias", ""), (long) COUNT);
        client.alterAlias(AlterAliasReq.builder().collectionName(PLAIN).alias("java_alias").build());
        same("rows", Changes.count(client, "java_alias", ""), 2L);
        client.dropAlias(DropAliasReq.builder().alias("java_alias").build());
    }

    private void databases() throws Exception {
        String name = "java_database";
        client.createDatabase(CreateDatabaseReq.builder().databaseName(name).build());
        contains("databases", client.listDatabases().getDatabaseNames(), name);
        same("name", client.describeDatabase(DescribeDatabaseReq.builder().databaseName(name).build())
                .getDatabaseName(), name);
        client.useDatabase(name);
        client.createCollection(CreateCollectionReq.builder().collectionName("inside").dimension(DIM).build());
        same("collections", client.listCollections().getCollectionNames(), List.of("inside"));
        MilvusClientV2 other = Main.connect(name, Main.token());
        same("has", has(other, "inside"), true);
        other.dropCollection(DropCollectionReq.builder().collectionName("inside").build());
        other.close();
        client.useDatabase("default");
        client.dropDatabase(DropDatabaseReq.builder().databaseName(name).build());
    }
}
