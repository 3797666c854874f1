// Upserts, deletes, keys made by the server, partitions.
const { DataType } = require("@zilliz/milvus2-sdk-node");
const { assert, run, ok, vectorOf, DIM, BIRDS } = require("./steps");

const PLAIN = "node_plain";
const KEYS = "node_keys";

module.exports = async ({ client }) => {
  const count = async (collection_name, expr = "") =>
    ok(await client.count({ collection_name, expr, consistency_level: "Strong" })).data;
  await run("a simple collection", async () => {
    await client.dropCollection({ collection_name: PLAIN });
    ok(await client.createCollection({ collection_name: PLAIN, dimension: DIM, consistency_level: "Strong" }));
    const data = [1, 2, 3].map((id) => ({ id, vector: vectorOf(id), colour: ["", "red", "black", "green"][id] }));
    assert.equal(ok(await client.insert({ collection_name: PLAIN, data })).insert_cnt, "3");
    assert.equal(await count(PLAIN, "colour == 'green'"), 1);
  });
  await run("upsert", async () => {
    const data = [1, 4].map((id) => ({ id, vector: vectorOf(id + 10), colour: "blue" }));
    assert.equal(ok(await client.upsert({ collection_name: PLAIN, data })).upsert_cnt, "2");
    assert.equal(await count(PLAIN, "colour == 'blue'"), 2);
    assert.equal(await count(PLAIN), 4);
    ok(await client.upsert({ collection_name: BIRDS, data: [{ id: 1, name: "wren" }], partial_update: true }));
    const kept = ok(await client.query({
      collection_name: BIRDS, filter: "name == 'wren'", output_fields: ["short"], consistency_level: "Strong",
    }));
    assert.equal(kept.data[0].short, 10);
  });
  await run("delete", async () => {
    assert.equal(ok(await client.delete({ collection_name: PLAIN, ids: [2] })).delete_cnt, "1");
    ok(await client.delete({ collection_name: PLAIN, filter: "colour == 'green'" }));
    ok(await client.deleteEntities({ collection_name: PLAIN, expr: "id in [4]" }));
    assert.equal(await count(PLAIN), 1);
  });
  await run("keys of text, made by the server", async () => {
    await client.dropCollection({ collection_name: KEYS });
    ok(await client.createCollection({
      collection_name: KEYS,
      schema: [
        { name: "id", data_type: DataType.VarChar, max_length: 64, is_primary_key: true, autoID: true },
        { name: "vector", data_type: DataType.FloatVector, dim: DIM },
      ],
      index_params: [{ field_name: "vector", index_type: "AUTOINDEX", metric_type: "L2" }],
      consistency_level: "Strong",
    }));
    const data = [0, 1, 2, 3, 4].map((i) => ({ vector: vectorOf(i) }));
    const done = ok(await client.insert({ collection_name: KEYS, data }));
    const key = done.IDs.str_id.data[3];
    const found = ok(await client.search({ collection_name: KEYS, data: vectorOf(3), limit: 1 }));
    assert.equal(found.results[0].id, key);
    ok(await client.delete({ collection_name: KEYS, ids: [key] }));
    assert.equal(await count(KEYS), 4);
    ok(await client.dropCollection({ collection_name: KEYS }));
  });
  await run("partitions", async () => {
    const summer = { collection_name: PLAIN, partition_name: "summer" };
    ok(await client.createPartition(summer));
    assert.equal(ok(await client.hasPartition(summer)).value, true);
    assert.equal(ok(await client.hasPartition({ ...summer, partition_name: "autumn" })).value, false);
    const names = ok(await client.listPartitions({ collection_name: PLAIN })).partition_names;
    assert.deepEqual([...names].sort(), ["_default", "summer"]);
    ok(await client.loadPartitions({ collection_name: PLAIN, partition_names: ["summer"] }));
    const data = Array.from({ length: 10 }, (_, i) => ({ id: 50 + i, vector: vectorOf(50 + i) }));
    ok(await client.insert({ ...summer, data }));
    const found = ok(await client.search({
      collection_name: PLAIN, partition_names: ["summer"], data: vectorOf(50), limit: 20, consistency_level: "Strong",
    }));
    assert.equal(found.results.length, 10);
    ok(await client.flushSync({ collection_names: [PLAIN] }));
    assert.equal(ok(await client.getPartitionStatistics(summer)).data.row_count, "10");
    ok(await client.releasePartitions({ collection_name: PLAIN, partition_names: ["summer"] }));
    ok(await client.dropPartition(summer));
    assert.equal(await count(PLAIN), 1);
  });
};
