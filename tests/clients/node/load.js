// Many calls at once, large messages, upkeep, and the end of every collection.
const { assert, run, ok, refused, vectorOf, DIM, BIRDS } = require("./steps");

const LARGE = "node_large";
const ROWS = 10_000;

module.exports = async ({ client }) => {
  const named = { collection_name: LARGE };
  await run("50 inserts and 200 searches at once", async () => {
    await client.dropCollection(named);
    ok(await client.createCollection({ ...named, dimension: DIM, metric_type: "L2", consistency_level: "Strong" }));
    const batches = Array.from({ length: 50 }, (_, b) => {
      const data = Array.from({ length: ROWS / 50 }, (_, i) => {
        const id = b * (ROWS / 50) + i;
        return { id, vector: vectorOf(id), title: `title ${id} ${"x".repeat(900)}` };
      });
      return client.insert({ ...named, data });
    });
    for (const answer of await Promise.all(batches)) assert.equal(ok(answer).insert_cnt, String(ROWS / 50));
    const searches = Array.from({ length: 200 }, (_, i) => client.search({ ...named, data: vectorOf(i), limit: 1 }));
    (await Promise.all(searches)).forEach((answer) => assert.ok(ok(answer).results[0].score < 1e-6));
  });
  await run("a reply of many megabytes", async () => {
    const all = ok(await client.query({ ...named, filter: "id >= 0", output_fields: ["vector", "title"], limit: ROWS }));
    assert.equal(all.data.length, ROWS);
    assert.equal(all.data[ROWS - 1].$meta.title.length > 900, true);
  });
  await run("upkeep", async () => {
    const flushed = ok(await client.flush({ collection_names: [LARGE] }));
    const segments = flushed.coll_segIDs[LARGE].data;
    assert.ok(segments.length > 0);
    assert.equal(ok(await client.getFlushState({ segmentIDs: segments })).flushed, true);
    ok(await client.flushAllSync());
    const compaction = ok(await client.compact(named));
    ok(await client.getCompactionState({ compactionID: compaction.compactionID }));
    ok(await client.getCompactionStateWithPlans({ compactionID: compaction.compactionID }));
    const persistent = ok(await client.getPersistentSegmentInfo({ collectionName: LARGE })).infos;
    assert.ok(persistent.reduce((sum, one) => sum + Number(one.num_rows), 0) >= ROWS);
    ok(await client.getQuerySegmentInfo({ collectionName: LARGE }));
    const metrics = ok(await client.getMetric({ request: { metric_type: "system_info" } }));
    assert.ok(metrics.response.nodes_info.length > 0);
    assert.ok((await client.getVersion()).version.length > 0);
    ok(await client.refreshLoad(named));
    assert.equal(ok(await client.getReplicas({ collectionID: (await client.describeCollection(named)).collectionID }))
      .replicas.length, 1);
    ok(await client.truncateCollection(named));
    assert.equal(ok(await client.count(named)).data, 0);
  });
  await run("release and drop", async () => {
    ok(await client.releaseCollection({ collection_name: BIRDS }));
    assert.equal(ok(await client.getLoadState({ collection_name: BIRDS })).state, "LoadStateNotLoad");
    const index = { collection_name: BIRDS, index_name: "dense" };
    ok(await client.alterIndexProperties({ ...index, params: { "mmap.enabled": true } }));
    ok(await client.dropIndexProperties({ ...index, properties: ["mmap.enabled"] }));
    await refused(/collection not loaded/, () =>
      client.search({ collection_name: BIRDS, anns_field: "dense", data: vectorOf(1), limit: 3 }));
    for (const collection_name of [BIRDS, "node_plain", "node_texts", LARGE]) {
      ok(await client.dropCollection({ collection_name }));
      assert.equal(ok(await client.hasCollection({ collection_name })).value, false);
    }
  });
};
