package redkite;

import static redkite.Steps.*;

import io.milvus.client.MilvusServiceClient;
import io.milvus.common.clientenum.ConsistencyLevelEnum;
import io.milvus.grpc.DataType;
import io.milvus.grpc.DescribeCollectionResponse;
import io.milvus.grpc.FlushResponse;
import io.milvus.grpc.GetCompactionStateResponse;
import io.milvus.grpc.MutationResult;
import io.milvus.orm.iterator.QueryIterator;
import io.milvus.param.ConnectParam;
import io.milvus.param.IndexType;
import io.milvus.param.MetricType;
import io.milvus.param.R;
import io.milvus.param.alias.CreateAliasParam;
import io.milvus.param.alias.DropAliasParam;
import io.milvus.param.collection.CreateCollectionParam;
import io.milvus.param.collection.DescribeCollectionParam;
import io.milvus.param.collection.DropCollectionParam;
import io.milvus.param.collection.FieldType;
import io.milvus.param.collection.FlushParam;
import io.milvus.param.collection.GetCollectionStatisticsParam;
import io.milvus.param.collection.GetLoadStateParam;
import io.milvus.param.collection.HasCollectionParam;
import io.milvus.param.collection.LoadCollectionParam;
import io.milvus.param.collection.ReleaseCollectionParam;
import io.milvus.param.collection.ShowCollectionsParam;
import io.milvus.param.control.GetCompactionStateParam;
import io.milvus.param.control.GetMetricsParam;
import io.milvus.param.control.GetPersistentSegmentInfoParam;
import io.milvus.param.control.GetReplicasParam;
import io.milvus.param.control.ManualCompactParam;
import io.milvus.param.credential.CreateCredentialParam;
import io.milvus.param.credential.DeleteCredentialParam;
import io.milvus.param.credential.ListCredUsersParam;
import io.milvus.param.dml.DeleteParam;
import io.milvus.param.dml.InsertParam;
import io.milvus.param.dml.QueryIteratorParam;
import io.milvus.param.dml.QueryParam;
import io.milvus.param.dml.SearchParam;
import io.milvus.param.dml.UpsertParam;
import io.milvus.param.index.CreateIndexParam;
import io.milvus.param.index.DescribeIndexParam;
import io.milvus.param.index.DropIndexParam;
import io.milvus.param.index.GetIndexBuildProgressParam;
import io.milvus.param.index.GetIndexStateParam;
import io.milvus.param.partition.CreatePartitionParam;
import io.milvus.param.partition.DropPartitionParam;
import io.milvus.param.partition.HasPartitionParam;
import io.milvus.param.partition.ShowPartitionsParam;
import io.milvus.response.DescCollResponseWrapper;
import io.milvus.response.DescIndexResponseWrapper;
import io.milvus.response.GetCollStatResponseWrapper;
import io.milvus.response.MutationResultWrapper;
import io.milvus.response.QueryResultsWrapper;
import io.milvus.response.SearchResultsWrapper;
import io.milvus.response.ShowCollResponseWrapper;
import java.util.ArrayList;
import java.util.List;

/** The client that programs before MilvusClientV2 use: every answer is an `R` with a status. */
final class Legacy {
    private static final String NAME = "java_legacy";
    private final MilvusServiceClient client;

    Legacy(String address, String token, String certificate) {
        ConnectParam.Builder connect = ConnectParam.newBuilder().withUri("http://" + address);
        if (!token.isEmpty()) {
            connect.withToken(token);
        }
        if (!certificate.isEmpty()) {
            connect.withUri("https://" + address).secure(true).withServerPemPath(certificate).withServerName("localhost");
        }
        client = new MilvusServiceClient(connect.build());
    }

    void run() {
        step("older client: create", this::create);
        step("older client: write", this::write);
        step("older client: read", this::read);
        step("older client: partitions, aliases, users", this::others);
        step("older client: upkeep", this::upkeep);
        step("older client: drop", this::drop);
        client.close();
    }

    private static <T> T ok(R<T> answer) {
        if (answer.getStatus() != R.Status.Success.getCode()) {
            throw new AssertionError(answer.getMessage());
        }
        return answer.getData();
    }

    private void create() {
        ok(client.dropCollection(DropCollectionParam.newBuilder().withCollectionName(NAME).build()));
        ok(client.createCollection(CreateCollectionParam.newBuilder().withCollectionName(NAME).withShardsNum(2)
                .withDescription("the older client").withConsistencyLevel(ConsistencyLevelEnum.STRONG)
                .addFieldType(FieldType.newBuilder().withName("id").withDataType(DataType.Int64).withPrimaryKey(true)
                        .withAutoID(false).build())
                .addFieldType(FieldType.newBuilder().withName("vector").withDataType(DataType.FloatVector)
                        .withDimension(DIM).build())
                .addFieldType(FieldType.newBuilder().withName("name").withDataType(DataType.VarChar).withMaxLength(100)
                        .build()).build()));
        ok(client.createIndex(CreateIndexParam.newBuilder().withCollectionName(NAME).withFieldName("vector")
                .withIndexName("by_vector").withIndexType(IndexType.IVF_FLAT).withMetricType(MetricType.L2)
                .withExtraParam("{\"nlist\": 16}").withSyncMode(true).build()));
        ok(client.loadCollection(LoadCollectionParam.newBuilder().withCollectionName(NAME).build()));
        same("state", ok(client.getLoadState(GetLoadStateParam.newBuilder().withCollectionName(NAME).build()))
                .getState().name(), "LoadStateLoaded");
        same("has", ok(client.hasCollection(HasCollectionParam.newBuilder().withCollectionName(NAME).build())), true);
        DescribeCollectionResponse described =
                ok(client.describeCollection(DescribeCollectionParam.newBuilder().withCollectionName(NAME).build()));
        DescCollResponseWrapper wrapper = new DescCollResponseWrapper(described);
        same("fields", wrapper.getFields().size(), 3);
        same("key", wrapper.getPrimaryField().getName(), "id");
        same("shards", wrapper.getShardNumber(), 2);
    }

    private void write() {
        List<Long> ids = new ArrayList<>();
        List<List<Float>> vectors = new ArrayList<>();
        List<String> names = new ArrayList<>();
        for (int i = 0; i < COUNT; i++) {
            ids.add((long) i);
            vectors.add(vectorOf(i));
            names.add("bird " + i);
        }
        MutationResult done = ok(client.insert(InsertParam.newBuilder().withCollectionName(NAME).withFields(List.of(
                new InsertParam.Field("id", ids), new InsertParam.Field("vector", vectors),
                new InsertParam.Field("name", names))).build()));
        same("inserted", new MutationResultWrapper(done).getInsertCount(), (long) COUNT);
        ok(client.upsert(UpsertParam.newBuilder().withCollectionName(NAME).withFields(List.of(
                new InsertParam.Field("id", List.of(1L)), new InsertParam.Field("vector", List.of(vectorOf(1))),
                new InsertParam.Field("name", List.of("wren")))).build()));
        ok(client.delete(DeleteParam.newBuilder().withCollectionName(NAME).withExpr("id in [2, 3]").build()));
        same("rows", count(), (long) COUNT - 2);
    }

    private long count() {
        return (Long) new QueryResultsWrapper(ok(client.query(QueryParam.newBuilder().withCollectionName(NAME)
                .withExpr("").addOutField("count(*)").withConsistencyLevel(ConsistencyLevelEnum.STRONG).build())))
                .getFieldWrapper("count(*)").getFieldData().get(0);
    }

    private void read() {
        SearchResultsWrapper found = new SearchResultsWrapper(ok(client.search(SearchParam.newBuilder()
                .withCollectionName(NAME).withVectorFieldName("vector").withMetricType(MetricType.L2).withTopK(3)
                .withFloatVectors(List.of(vectorOf(7), vectorOf(9))).withExpr("id > 5").withParams("{\"nprobe\": 16}")
                .addOutField("name").withConsistencyLevel(ConsistencyLevelEnum.STRONG).build())).getResults());
        same("best", found.getIDScore(1).get(0).getLongID(), 9L);
        check(Math.abs(found.getIDScore(0).get(0).getScore()) < 1e-5, "score");
        same("name", found.getFieldData("name", 0).get(0), "bird 7");
        List<QueryResultsWrapper.RowRecord> rows = new QueryResultsWrapper(ok(client.query(QueryParam.newBuilder()
                .withCollectionName(NAME).withExpr("name == 'wren'").addOutField("vector").build()))).getRowRecords();
        same("vector", rows.get(0).get("vector"), vectorOf(1));
        QueryIterator iterator = ok(client.queryIterator(QueryIteratorParam.newBuilder().withCollectionName(NAME)
                .withExpr("id >= 10").addOutField("id").withBatchSize(25L)
                .withConsistencyLevel(ConsistencyLevelEnum.STRONG).build()));
        long next = 10;
        for (List<QueryResultsWrapper.RowRecord> page = iterator.next(); !page.isEmpty(); page = iterator.next()) {
            for (QueryResultsWrapper.RowRecord row : page) {
                same("id", row.get("id"), next++);
            }
        }
        same("end", next, (long) COUNT);
        same("refused", client.query(QueryParam.newBuilder().withCollectionName("java_nowhere").withExpr("id > 0")
                .build()).getStatus(), 100);
    }

    private void others() {
        ok(client.createPartition(CreatePartitionParam.newBuilder().withCollectionName(NAME).withPartitionName("p")
                .build()));
        same("has", ok(client.hasPartition(HasPartitionParam.newBuilder().withCollectionName(NAME)
                .withPartitionName("p").build())), true);
        same("partitions", ok(client.showPartitions(ShowPartitionsParam.newBuilder().withCollectionName(NAME).build()))
                .getPartitionNamesCount(), 2);
        ok(client.releasePartitions(io.milvus.param.partition.ReleasePartitionsParam.newBuilder()
                .withCollectionName(NAME).addPartitionName("p").build()));
        ok(client.dropPartition(DropPartitionParam.newBuilder().withCollectionName(NAME).withPartitionName("p").build()));
        ok(client.createAlias(CreateAliasParam.newBuilder().withCollectionName(NAME).withAlias("java_old").build()));
        ok(client.dropAlias(DropAliasParam.newBuilder().withAlias("java_old").build()));
        ok(client.createCredential(
                CreateCredentialParam.newBuilder().withUsername("java_old").withPassword("Secret1!").build()));
        contains("users", ok(client.listCredUsers(ListCredUsersParam.newBuilder().build())).getUsernamesList(), "java_old");
        ok(client.deleteCredential(DeleteCredentialParam.newBuilder().withUsername("java_old").build()));
    }

    private void upkeep() {
        FlushResponse flushed = ok(client.flush(FlushParam.newBuilder().withCollectionNames(List.of(NAME))
                .withSyncFlush(true).build()));
        check(flushed.getCollSegIDsMap().containsKey(NAME), "no segments");
        same("rows", new GetCollStatResponseWrapper(ok(client.getCollectionStatistics(
                GetCollectionStatisticsParam.newBuilder().withCollectionName(NAME).build()))).getRowCount(), COUNT - 2L);
        ShowCollResponseWrapper shown = new ShowCollResponseWrapper(
                ok(client.showCollections(ShowCollectionsParam.newBuilder().build())));
        check(shown.getCollectionInfoByName(NAME) != null, "not listed");
        ShowCollResponseWrapper loaded = new ShowCollResponseWrapper(
                ok(client.showCollections(ShowCollectionsParam.newBuilder().addCollectionName(NAME).build())));
        same("in memory", loaded.getCollectionInfoByName(NAME).getInMemoryPercentage(), 100L);
        check(!ok(client.getMetrics(GetMetricsParam.newBuilder().withRequest("{\"metric_type\": \"system_info\"}").build()))
                .getResponse().isEmpty(), "no metrics");
        check(ok(client.getPersistentSegmentInfo(
                GetPersistentSegmentInfoParam.newBuilder().withCollectionName(NAME).build())).getInfosCount() > 0, "none");
        same("replicas", ok(client.getReplicas(GetReplicasParam.newBuilder().withCollectionName(NAME).build()))
                .getReplicasCount(), 1);
        long id = ok(client.manualCompact(ManualCompactParam.newBuilder().withCollectionName(NAME).build()))
                .getCompactionID();
        GetCompactionStateResponse state = ok(client.getCompactionState(
                GetCompactionStateParam.newBuilder().withCompactionID(id).build()));
        check(state.getState() != null, "no state");
        same("index", ok(client.getIndexState(GetIndexStateParam.newBuilder().withCollectionName(NAME)
                .withIndexName("by_vector").build())).getState().name(), "Finished");
        check(ok(client.getIndexBuildProgress(GetIndexBuildProgressParam.newBuilder().withCollectionName(NAME)
                .withIndexName("by_vector").build())).getTotalRows() >= COUNT - 2, "too few rows");
        same("type", new DescIndexResponseWrapper(ok(client.describeIndex(DescribeIndexParam.newBuilder()
                .withCollectionName(NAME).withIndexName("by_vector").build()))).getIndexDescByFieldName("vector")
                .getIndexType(), IndexType.IVF_FLAT);
    }

    private void drop() {
        ok(client.releaseCollection(ReleaseCollectionParam.newBuilder().withCollectionName(NAME).build()));
        ok(client.dropIndex(
                DropIndexParam.newBuilder().withCollectionName(NAME).withIndexName("by_vector").build()));
        ok(client.dropCollection(DropCollectionParam.newBuilder().withCollectionName(NAME).build()));
        same("has", ok(client.hasCollection(HasCollectionParam.newBuilder().withCollectionName(NAME).build())), false);
    }
}
