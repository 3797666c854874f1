package redkite;

import static redkite.Steps.*;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import io.milvus.common.clientenum.FunctionType;
import io.milvus.v2.client.MilvusClientV2;
import io.milvus.v2.common.ConsistencyLevel;
import io.milvus.v2.common.DataType;
import io.milvus.v2.common.IndexParam;
import io.milvus.v2.service.collection.request.AddFieldReq;
import io.milvus.v2.service.collection.request.CreateCollectionReq;
import io.milvus.v2.service.collection.request.DropCollectionReq;
import io.milvus.v2.service.partition.request.CreatePartitionReq;
import io.milvus.v2.service.partition.request.DropPartitionReq;
import io.milvus.v2.service.partition.request.GetPartitionStatsReq;
import io.milvus.v2.service.partition.request.HasPartitionReq;
import io.milvus.v2.service.partition.request.ListPartitionsReq;
import io.milvus.v2.service.partition.request.LoadPartitionsReq;
import io.milvus.v2.service.partition.request.ReleasePartitionsReq;
import io.milvus.v2.service.utility.request.FlushReq;
import io.milvus.v2.service.vector.request.DeleteReq;
import io.milvus.v2.service.vector.request.InsertReq;
import io.milvus.v2.service.vector.request.QueryReq;
import io.milvus.v2.service.vector.request.RunAnalyzerReq;
import io.milvus.v2.service.vector.request.SearchReq;
import io.milvus.v2.service.vector.request.UpsertReq;
import io.milvus.v2.service.vector.request.data.EmbeddedText;
import io.milvus.v2.service.vector.request.data.FloatVec;
import io.milvus.v2.service.vector.response.SearchResp;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Upserts, deletes, keys made by the server, partitions, texts. */
final class Changes {
    private static final Gson GSON = new Gson();
    private final MilvusClientV2 client;

    Changes(MilvusClientV2 client) {
        this.client = client;
    }

    void run() {
        step("a simple collection", this::simple);
        step("upsert", this::upsert);
        step("delete", this::delete);
        step("keys of text, made by the server", this::keys);
        step("partitions", this::partitions);
        step("full-text search", this::texts);
    }

    static long count(MilvusClientV2 client, String name, String filter) {
        return (Long) client.query(QueryReq.builder().collectionName(name).filter(filter)
                .outputFields(List.of("count(*)")).consistencyLevel(ConsistencyLevel.STRONG).build())
                .getQueryResults().get(0).getEntity().get("count(*)");
    }

    private static JsonObject row(long id, int vector, String colour) {
        JsonObject row = new JsonObject();
        row.addProperty("id", id);
        row.add("vector", GSON.toJsonTree(vectorOf(vector)));
        row.addProperty("colour", colour);
        return row;
    }

    private void simple() {
        client.dropCollection(DropCollectionReq.builder().collectionName(PLAIN).build());
        client.createCollection(CreateCollectionReq.builder().collectionName(PLAIN).dimension(DIM)
                .consistencyLevel(ConsistencyLevel.STRONG).build());
        same("inserted", client.insert(InsertReq.builder().collectionName(PLAIN)
                .data(List.of(row(1, 1, "red"), row(2, 2, "black"), row(3, 3, "green"))).build()).getInsertCnt(), 3L);
        same("green", count(client, PLAIN, "colour == 'green'"), 1L);
        same("rows", count(client, PLAIN, ""), 3L);
    }

    private void upsert() {
        same("upserted", client.upsert(UpsertReq.builder().collectionName(PLAIN)
                .data(List.of(row(1, 11, "blue"), row(4, 14, "blue"))).build()).getUpsertCnt(), 2L);
        same("blue", count(client, PLAIN, "colour == 'blue'"), 2L);
        same("rows", count(client, PLAIN, ""), 4L);
        JsonObject part = new JsonObject();
        part.addProperty("id", 1L);
        part.addProperty("name", "wren");
        client.upsert(UpsertReq.builder().collectionName(BIRDS).data(List.of(part)).partialUpdate(true).build());
        same("kept", count(client, BIRDS, "name == 'wren' and short == 10"), 1L);
    }

    private void delete() {
        same("by id", client.delete(DeleteReq.builder().collectionName(PLAIN).ids(List.of(2L)).build()).getDeleteCnt(), 1L);
        client.delete(DeleteReq.builder().collectionName(PLAIN).filter("colour == {it}")
                .filterTemplateValues(Map.of("it", "green")).build());
        same("rows", count(client, PLAIN, ""), 2L);
    }

    private void keys() {
        String name = "java_keys";
        client.dropCollection(DropCollectionReq.builder().collectionName(name).build());
        client.createCollection(CreateCollectionReq.builder().collectionName(name).dimension(DIM).autoID(true)
                .idType(DataType.VarChar).maxLength(64).consistencyLevel(ConsistencyLevel.STRONG).build());
        List<JsonObject> rows = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            JsonObject row = new JsonObject();
            row.add("vector", GSON.toJsonTree(vectorOf(i)));
            rows.add(row);
        }
        Object key = client.insert(InsertReq.builder().collectionName(name).data(rows).build()).getPrimaryKeys().get(3);
        SearchResp found = client.search(SearchReq.builder().collectionName(name).limit(1)
                .data(List.of(new FloatVec(vectorOf(3)))).build());
        same("found", found.getSearchResults().get(0).get(0).getId(), key);
        client.delete(DeleteReq.builder().collectionName(name).ids(List.of(key)).build());
        same("rows", count(client, name, ""), 4L);
        client.dropCollection(DropCollectionReq.builder().collectionName(name).build());
    }

    private void partitions() {
        client.createPartition(CreatePartitionReq.builder().collectionName(PLAIN).partitionName("summer").build());
        same("has", client.hasPartition(
                HasPartitionReq.builder().collectionName(PLAIN).partitionName("summer").build()), true);
        same("has none", client.hasPartition(
                HasPartitionReq.builder().collectionName(PLAIN).partitionName("autumn").build()), false);
        contains("partitions", client.listPartitions(ListPartitionsReq.builder().collectionName(PLAIN).build()), "_default");
        client.loadPartitions(LoadPartitionsReq.builder().collectionName(PLAIN).partitionNames(List.of("summer")).build());
        List<JsonObject> rows = new ArrayList<>();
        for (int i = 50; i < 60; i++) {
            rows.add(row(i, i, "yellow"));
        }
        client.insert(InsertReq.builder().collectionName(PLAIN).partitionName("summer").data(rows).build());
        same("hits", client.search(SearchReq.builder().collectionName(PLAIN).partitionNames(List.of("summer")).limit(20)
                .data(List.of(new FloatVec(vectorOf(50)))).consistencyLevel(ConsistencyLevel.STRONG).build())
                .getSearchResults().get(0).size(), 10);
        client.flush(FlushReq.builder().collectionNames(List.of(PLAIN)).build());
        same("statistics", client.getPartitionStats(GetPartitionStatsReq.builder().collectionName(PLAIN)
                .partitionName("summer").build()).getNumOfEntities(), 10L);
        client.releasePartitions(
                ReleasePartitionsReq.builder().collectionName(PLAIN).partitionNames(List.of("summer")).build());
        client.dropPartition(DropPartitionReq.builder().collectionName(PLAIN).partitionName("summer").build());
        same("rows", count(client, PLAIN, ""), 2L);
    }

    private void texts() {
        client.dropCollection(DropCollectionReq.builder().collectionName(TEXTS).build());
        CreateCollectionReq.CollectionSchema schema = MilvusClientV2.CreateSchema();
        schema.addField(AddFieldReq.builder().fieldName("id").dataType(DataType.Int64).isPrimaryKey(true)
                .autoID(true).build());
        schema.addField(AddFieldReq.builder().fieldName("text").dataType(DataType.VarChar).maxLength(1000)
                .enableAnalyzer(true).enableMatch(true).build());
        schema.addField(AddFieldReq.builder().fieldName("words").dataType(DataType.SparseFloatVector).build());
        schema.addFunction(CreateCollectionReq.Function.builder().name("bm25").functionType(FunctionType.BM25)
                .inputFieldNames(List.of("text")).outputFieldNames(List.of("words")).build());
        client.createCollection(CreateCollectionReq.builder().collectionName(TEXTS).collectionSchema(schema)
                .indexParams(List.of(Rows.index(
                        "words", IndexParam.IndexType.SPARSE_INVERTED_INDEX, IndexParam.MetricType.BM25)))
                .consistencyLevel(ConsistencyLevel.STRONG).build());
        List<JsonObject> rows = new ArrayList<>();
        for (String text : List.of("a red kite over hills", "a wren sings", "kites are made of paper")) {
            JsonObject row = new JsonObject();
            row.addProperty("text", text);
            rows.add(row);
        }
        client.insert(InsertReq.builder().collectionName(TEXTS).data(rows).build());
        SearchResp found = client.search(SearchReq.builder().collectionName(TEXTS).annsField("words").limit(3)
                .data(List.of(new EmbeddedText("red kite"))).outputFields(List.of("text")).build());
        same("best", found.getSearchResults().get(0).get(0).getEntity().get("text"), "a red kite over hills");
        same("matches", count(client, TEXTS, "text_match(text, 'wren')"), 1L);
        List<String> words = new ArrayList<>();
        client.runAnalyzer(RunAnalyzerReq.builder().texts(List.of("Red Kites")).analyzerParams(Map.of("type", "english"))
                .build()).getResults().get(0).getTokens().forEach(token -> words.add(token.getToken()));
        same("words", words, List.of("red", "kite"));
    }
}
