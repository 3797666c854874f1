package redkite;

import static redkite.Steps.*;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import io.milvus.common.utils.Float16Utils;
import io.milvus.v2.client.MilvusClientV2;
import io.milvus.v2.common.ConsistencyLevel;
import io.milvus.v2.common.DataType;
import io.milvus.v2.common.IndexParam;
import io.milvus.v2.service.collection.request.AddFieldReq;
import io.milvus.v2.service.collection.request.CreateCollectionReq;
import io.milvus.v2.service.collection.request.DropCollectionReq;
import io.milvus.v2.service.collection.request.GetLoadStateReq;
import io.milvus.v2.service.collection.request.LoadCollectionReq;
import io.milvus.v2.service.index.request.CreateIndexReq;
import io.milvus.v2.service.vector.request.InsertReq;
import io.milvus.v2.service.vector.request.QueryReq;
import io.milvus.v2.service.vector.response.InsertResp;
import io.milvus.v2.service.vector.response.QueryResp;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;

/** A field of every type: created, indexed, filled and read back. */
final class Rows {
    private static final Gson GSON = new Gson();
    private final MilvusClientV2 client;

    Rows(MilvusClientV2 client) {
        this.client = client;
    }

    void run() {
        step("create a collection with a field of every type", this::create);
        step("insert rows", this::insert);
        step("read every type back", this::readBack);
    }

    static CreateCollectionReq.CollectionSchema schema() {
        CreateCollectionReq.CollectionSchema schema =
                CreateCollectionReq.CollectionSchema.builder().enableDynamicField(true).build();
        schema.addField(AddFieldReq.builder().fieldName("id").dataType(DataType.Int64).isPrimaryKey(true).build());
        schema.addField(AddFieldReq.builder().fieldName("dense").dataType(DataType.FloatVector).dimension(DIM).build());
        schema.addField(AddFieldReq.builder().fieldName("half").dataType(DataType.Float16Vector).dimension(DIM).build());
        schema.addField(AddFieldReq.builder().fieldName("bits").dataType(DataType.BinaryVector).dimension(16).build());
        schema.addField(AddFieldReq.builder().fieldName("words").dataType(DataType.SparseFloatVector).build());
        schema.addField(AddFieldReq.builder().fieldName("name").dataType(DataType.VarChar).maxLength(100).build());
        schema.addField(AddFieldReq.builder().fieldName("rare").dataType(DataType.Bool).build());
        schema.addField(AddFieldReq.builder().fieldName("tiny").dataType(DataType.Int8).build());
        schema.addField(AddFieldReq.builder().fieldName("short").dataType(DataType.Int16).build());
        schema.addField(AddFieldReq.builder().fieldName("number").dataType(DataType.Int32).isNullable(true).build());
        schema.addField(AddFieldReq.builder().fieldName("weight").dataType(DataType.Float).build());
        schema.addField(AddFieldReq.builder().fieldName("span").dataType(DataType.Double).defaultValue(1.5).build());
        schema.addField(AddFieldReq.builder().fieldName("notes").dataType(DataType.JSON).build());
        schema.addField(AddFieldReq.builder().fieldName("tags").dataType(DataType.Array)
                .elementType(DataType.VarChar).maxCapacity(4).maxLength(20).build());
        schema.addField(AddFieldReq.builder().fieldName("seen").dataType(DataType.Timestamptz).isNullable(true).build());
        schema.addField(AddFieldReq.builder().fieldName("place").dataType(DataType.Geometry).isNullable(true).build());
        return schema;
    }

    static IndexParam index(String field, IndexParam.IndexType type, IndexParam.MetricType metric, Object... params) {
        IndexParam.IndexParamBuilder index = IndexParam.builder().fieldName(field).indexName(field).indexType(type);
        if (metric != null) {
            index.metricType(metric);
        }
        if (params.length > 0) {
            index.extraParams(Map.of((String) params[0], params[1]));
        }
        return index.build();
    }

    private void create() {
        client.dropCollection(DropCollectionReq.builder().collectionName(BIRDS).build());
        client.createCollection(CreateCollectionReq.builder().collectionName(BIRDS).description("birds of Java")
                .collectionSchema(schema()).numShards(1)
                .consistencyLevel(ConsistencyLevel.STRONG).build());
        client.createIndex(CreateIndexReq.builder().collectionName(BIRDS).indexParams(Arrays.asList(
                index("dense", IndexParam.IndexType.HNSW, IndexParam.MetricType.COSINE, "M", 16),
                index("half", IndexParam.IndexType.IVF_FLAT, IndexParam.MetricType.L2, "nlist", 8),
                index("bits", IndexParam.IndexType.BIN_FLAT, IndexParam.MetricType.HAMMING),
                index("words", IndexParam.IndexType.SPARSE_INVERTED_INDEX, IndexParam.MetricType.IP),
                index("name", IndexParam.IndexType.INVERTED, null),
                index("rare", IndexParam.IndexType.BITMAP, null),
                index("place", IndexParam.IndexType.RTREE, null))).build());
        client.loadCollection(LoadCollectionReq.builder().collectionName(BIRDS).build());
        same("loaded", client.getLoadState(GetLoadStateReq.builder().collectionName(BIRDS).build()), true);
    }

    static JsonObject bird(int i) {
        JsonObject row = new JsonObject();
        row.addProperty("id", (long) i);
        row.add("dense", GSON.toJsonTree(vectorOf(i)));
        row.add("half", GSON.toJsonTree(Float16Utils.f32VectorToFp16Buffer(vectorOf(i)).array()));
        row.add("bits", GSON.toJsonTree(new byte[] {(byte) i, (byte) (i >> 8)}));
        row.add("words", GSON.toJsonTree(Map.of((long) (i % 10), 1f, 100L, 0.5f)));
        row.addProperty("name", "bird " + i);
        row.addProperty("rare", i % 2 == 0);
        row.addProperty("tiny", i % 100);
        row.addProperty("short", i * 10);
        row.add("number", i % 4 == 0 ? JsonNull.INSTANCE : GSON.toJsonTree(i));
        row.addProperty("weight", i / 4f);
        row.add("notes", GSON.fromJson("{\"nest\": {\"eggs\": " + i % 5 + "}}", JsonElement.class));
        JsonArray tags = new JsonArray();
        tags.add("bird");
        tags.add("t" + i % 7);
        row.add("tags", tags);
        row.add("seen", i % 2 == 0 ? JsonNull.INSTANCE : GSON.toJsonTree("2026-01-02T03:04:05Z"));
        row.addProperty("place", "POINT (" + i % 90 + " 50)");
        row.addProperty("colour", i % 2 == 0 ? "red" : "black");
        return row;
    }

    private void insert() {
        List<JsonObject> rows = new ArrayList<>();
        for (int i = 0; i < COUNT; i++) {
            rows.add(bird(i));
        }
        InsertResp done = client.insert(InsertReq.builder().collectionName(BIRDS).data(rows).build());
        same("inserted", done.getInsertCnt(), (long) COUNT);
        same("an id", done.getPrimaryKeys().get(7), 7L);
    }

    private void readBack() {
        QueryResp found = client.query(QueryReq.builder().collectionName(BIRDS).filter("id in [7, 8]")
                .outputFields(List.of("*")).consistencyLevel(ConsistencyLevel.STRONG).build());
        same("rows", found.getQueryResults().size(), 2);
        Map<String, Object> row = found.getQueryResults().get(0).getEntity();
        Map<String, Object> even = found.getQueryResults().get(1).getEntity();
        same("id", row.get("id"), 7L);
        same("dense", row.get("dense"), vectorOf(7));
        same("bits", ((ByteBuffer) row.get("bits")).rewind(), ByteBuffer.wrap(new byte[] {7, 0}));
        same("half", ((ByteBuffer) row.get("half")).rewind().remaining(), 2 * DIM);
        same("words", ((SortedMap<?, ?>) row.get("words")).size(), 2);
        same("name", row.get("name"), "bird 7");
        same("rare", row.get("rare"), false);
        same("tiny", ((Number) row.get("tiny")).intValue(), 7);
        same("short", ((Number) row.get("short")).intValue(), 70);
        same("number", row.get("number"), 7);
        same("no number", even.get("number"), null);
        same("weight", row.get("weight"), 1.75f);
        same("default", row.get("span"), 1.5);
        same("notes", ((JsonObject) row.get("notes")).getAsJsonObject("nest").get("eggs").getAsInt(), 2);
        same("tags", row.get("tags"), List.of("bird", "t0"));
        check(String.valueOf(row.get("seen")).startsWith("2026-01-02T03:04:05"), "seen: " + row.get("seen"));
        same("not seen", even.get("seen"), null);
        same("place", row.get("place"), "POINT (7 50)");
        same("dynamic", String.valueOf(row.get("colour")), "black");
    }
}
