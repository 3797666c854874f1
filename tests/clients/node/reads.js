// Searches, queries and iterators.
const { DataType, RRFRanker, WeightedRanker } = require("@zilliz/milvus2-sdk-node");
const { assert, run, ok, refused, vectorOf, COUNT, BIRDS } = require("./steps");

const strong = { collection_name: BIRDS, consistency_level: "Strong" };

module.exports = async ({ client }) => {
  const search = async (options) => ok(await client.search({ ...strong, anns_field: "dense", ...options }));
  await run("search", async () => {
    const found = await search({ data: vectorOf(3), limit: 5, output_fields: ["id", "name", "colour"] });
    assert.equal(found.results.length, 5);
    const [best] = found.results;
    assert.deepEqual([best.id, best.name, best.colour], ["3", "bird 3", "black"]);
    assert.ok(Math.abs(best.score - 1) < 1e-5);
    const scores = found.results.map((hit) => hit.score);
    assert.deepEqual(scores, [...scores].sort((a, b) => b - a));
    const kept = await search({ data: vectorOf(3), limit: 1, round_decimal: 2 });
    assert.equal(kept.results[0].score, 1);
  });
  await run("search several vectors with a filter", async () => {
    const found = await search({
      data: [vectorOf(3), vectorOf(150)],
      limit: 4,
      filter: "id > {least} and name like 'bird 1%'",
      exprValues: { least: 100 },
      params: { ef: 64 },
    });
    assert.equal(found.results.length, 2);
    assert.equal(found.results[1][0].id, "150");
    for (const list of found.results) {
      assert.equal(list.length, 4);
      assert.ok(list.every((hit) => Number(hit.id) > 100));
    }
  });
  await run("search other kinds of vectors", async () => {
    const queries = { words: { 3: 1 }, bits: [3, 0], half: vectorOf(3), brain: vectorOf(3) };
    for (const [anns_field, data] of Object.entries(queries)) {
      const found = await search({ anns_field, data, limit: 3 });
      assert.equal(Number(found.results[0].id) % 10, 3, anns_field);
    }
  });
  await run("search by ids, pages, ranges and groups", async () => {
    const whole = await search({ data: vectorOf(3), limit: 10 });
    const page = await search({ data: vectorOf(3), limit: 5, offset: 5 });
    assert.equal(page.results[0].id, whole.results[5].id);
    const near = await search({ data: vectorOf(3), limit: 100, params: { radius: 0.9, range_filter: 1.1 } });
    assert.ok(near.results.length > 0 && near.results.every((hit) => hit.score > 0.9));
    const groups = await search({ data: vectorOf(3), limit: 2, group_by_field: "rare", output_fields: ["rare"] });
    assert.deepEqual(groups.results.map((hit) => hit.rare).sort(), [false, true]);
  });
  await run("hybrid search", async () => {
    const data = [
      { anns_field: "dense", data: vectorOf(3), limit: 10, expr: "id < 100" },
      { anns_field: "words", data: { 3: 1 }, limit: 10, expr: "id < 100" },
    ];
    for (const rerank of [RRFRanker(), WeightedRanker([0.7, 0.3])]) {
      const found = ok(await client.hybridSearch({ ...strong, data, rerank, limit: 3, output_fields: ["name"] }));
      assert.equal(found.results.length, 3);
      assert.equal(found.results[0].name, "bird 3");
    }
  });
  await run("query", async () => {
    const filter = "notes['nest']['eggs'] == 4 and array_contains(tags, 't2') and colour == 'red'";
    const found = ok(await client.query({ ...strong, filter, output_fields: ["id"], limit: 3 }));
    assert.equal(found.data.length, 3);
    const counted = ok(await client.count({ ...strong, expr: "number is null" }));
    assert.equal(counted.data, COUNT / 4);
    const got = ok(await client.get({ ...strong, ids: [5, 6], output_fields: ["name"] }));
    assert.deepEqual(got.data.map((row) => row.name).sort(), ["bird 5", "bird 6"]);
    const given = ok(
      await client.query({ ...strong, filter: "id in {ids}", exprValues: { ids: [5, 6] }, output_fields: ["id"] }),
    );
    assert.equal(given.data.length, 2);
  });
  await run("query iterator", async () => {
    const iterator = await client.queryIterator({
      ...strong, batchSize: 33, expr: "id >= 20", output_fields: ["id", "name"],
    });
    const ids = [];
    for await (const page of iterator) {
      assert.ok(page.length <= 33);
      for (const row of page) ids.push(Number(row.id));
    }
    assert.deepEqual(ids, Array.from({ length: COUNT - 20 }, (_, i) => i + 20));
  });
  await run("search iterator", async () => {
    const iterator = await client.searchIterator({
      ...strong, anns_field: "dense", data: vectorOf(9), batchSize: 30, limit: 150, expr: "id < 150",
      output_fields: ["id", "name"],
    });
    const ids = new Set();
    let last = 2;
    for await (const page of iterator) {
      for (const hit of page) {
        assert.ok(!ids.has(hit.id), `${hit.id} came twice`);
        assert.ok(hit.score <= last, "scores are not in order");
        ids.add(hit.id);
        last = hit.score;
      }
    }
    assert.equal(ids.size, 150);
  });
  await run("errors say what is wrong", async () => {
    await refused(/collection not found/, () => client.query({ collection_name: "node_nowhere", filter: "id > 0" }));
    await refused(/cannot parse expression/, () =>
      client.search({ ...strong, anns_field: "dense", data: vectorOf(1), filter: "id >> " }));
    await refused(/dim/, () => client.search({ ...strong, anns_field: "dense", data: [1, 2] }));
    await refused(/./, () =>
      client.insert({ collection_name: BIRDS, data: [{ id: 1, dense: [1, 2] }] }));
  });
};
