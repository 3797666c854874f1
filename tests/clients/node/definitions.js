// Collections described and changed, indexes, aliases, databases.
const { DataType } = require("@zilliz/milvus2-sdk-node");
const { assert, run, ok, refused, DIM, COUNT, BIRDS } = require("./steps");

const PLAIN = "node_plain";
const NAME = "node_database";

module.exports = async ({ client, connect }) => {
  const named = { collection_name: BIRDS };
  await run("describe a collection", async () => {
    const found = ok(await client.describeCollection(named));
    assert.equal(found.collection_name, BIRDS);
    assert.equal(found.schema.description, "birds of Node");
    assert.equal(found.consistency_level, "Strong");
    assert.equal(found.schema.enable_dynamic_field, true);
    const fields = Object.fromEntries(found.schema.fields.map((field) => [field.name, field]));
    assert.deepEqual(Object.keys(fields).slice(0, 4), ["id", "dense", "half", "brain"]);
    assert.equal(Object.keys(fields).length, 18);
    assert.equal(fields.id.is_primary_key, true);
    assert.equal(fields.dense.dim, String(DIM));
    assert.equal(fields.number.nullable, true);
    assert.equal(fields.tags.element_type, "VarChar");
    assert.equal(await client.getPkFieldName(named), "id");
    assert.ok(Number(found.created_utc_timestamp) > 0);
  });
  await run("list, count and rename collections", async () => {
    assert.equal(ok(await client.hasCollection(named)).value, true);
    assert.equal(ok(await client.hasCollection({ collection_name: "node_nowhere" })).value, false);
    const listed = ok(await client.showCollections());
    assert.ok(listed.data.some((one) => one.name === BIRDS));
    const loaded = ok(await client.showCollections({ type: 1 }));
    const one = loaded.data.find((found) => found.name === BIRDS);
    assert.equal(one.loadedPercentage, "100");
    ok(await client.flushSync({ collection_names: [BIRDS] }));
    assert.equal(ok(await client.getCollectionStatistics(named)).data.row_count, COUNT);
    ok(await client.renameCollection({ ...named, new_collection_name: "node_renamed" }));
    assert.equal(ok(await client.hasCollection({ collection_name: "node_renamed" })).value, true);
    ok(await client.renameCollection({ collection_name: "node_renamed", new_collection_name: BIRDS }));
  });
  await run("indexes", async () => {
    const found = ok(await client.describeIndex({ ...named, field_name: "dense" })).index_descriptions[0];
    assert.equal(found.field_name, "dense");
    assert.equal(found.state, "Finished");
    const params = Object.fromEntries(found.params.map(({ key, value }) => [key, value]));
    assert.equal(params.index_type, "HNSW");
    assert.equal(params.metric_type, "COSINE");
    assert.ok(ok(await client.listIndexes(named)).indexes.includes("rare"));
    assert.equal(ok(await client.getIndexState({ ...named, field_name: "dense" })).state, "Finished");
    const progress = ok(await client.getIndexBuildProgress({ ...named, field_name: "dense" }));
    assert.ok(Number(progress.total_rows) >= COUNT);
    ok(await client.dropIndex({ ...named, field_name: "rare" }));
    await refused(/index not found/, () => client.describeIndex({ ...named, index_name: "rare" }));
  });
  await run("properties and new fields", async () => {
    const plain = { collection_name: PLAIN };
    ok(await client.alterCollectionProperties({ ...plain, properties: { "collection.ttl.seconds": 3600 } }));
    const found = ok(await client.describeCollection(plain));
    assert.ok(found.properties.some(({ key, value }) => key === "collection.ttl.seconds" && value === "3600"));
    ok(await client.dropCollectionProperties({ ...plain, properties: ["collection.ttl.seconds"] }));
    ok(await client.addCollectionField({ ...plain, field: { name: "added", data_type: DataType.Int64, nullable: true } }));
    assert.equal(ok(await client.count({ ...plain, expr: "added is null" })).data, 1);
    ok(await client.alterCollectionFieldProperties({ ...named, field_name: "name", properties: { max_length: 200 } }));
  });
  await run("aliases", async () => {
    ok(await client.createAlias({ ...named, alias: "node_alias" }));
    assert.deepEqual(ok(await client.listAliases(named)).aliases, ["node_alias"]);
    assert.equal(ok(await client.describeAlias({ ...named, alias: "node_alias" })).collection, BIRDS);
    assert.equal(ok(await client.count({ collection_name: "node_alias" })).data, COUNT);
    ok(await client.alterAlias({ collection_name: PLAIN, alias: "node_alias" }));
    assert.equal(ok(await client.count({ collection_name: "node_alias" })).data, 1);
    ok(await client.dropAlias({ alias: "node_alias" }));
  });
  await run("databases", async () => {
    ok(await client.createDatabase({ db_name: NAME }));
    assert.ok(ok(await client.listDatabases()).db_names.includes(NAME));
    assert.equal(ok(await client.describeDatabase({ db_name: NAME })).db_name, NAME);
    ok(await client.createCollection({ db_name: NAME, collection_name: "inside", dimension: DIM }));
    await client.useDatabase({ db_name: NAME });
    assert.deepEqual(ok(await client.showCollections()).data.map((one) => one.name), ["inside"]);
    await client.useDatabase({ db_name: "default" });
    const other = connect({ database: NAME });
    await other.connectPromise;
    assert.equal(ok(await other.hasCollection({ collection_name: "inside" })).value, true);
    ok(await other.dropCollection({ collection_name: "inside" }));
    await other.closeConnection();
    ok(await client.dropDatabase({ db_name: NAME }));
  });
};
