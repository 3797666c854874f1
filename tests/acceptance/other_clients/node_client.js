// Milvus's SDK for Node on a Redkite server: node node_client.js HOST:PORT
// Wants: npm install @zilliz/milvus2-sdk-node
const assert = require("node:assert");
const { MilvusClient, DataType, MetricType, IndexType } = require("@zilliz/milvus2-sdk-node");

const NAME = "from_node";
const DIM = 64;
const ROWS = 5_000;

function vectorOf(i) {
  return Array.from({ length: DIM }, (_, j) => Math.fround(Math.sin(i * 31 + j)));
}

function ok(answer) {
  const status = answer.status ?? answer;
  assert.equal(status.error_code, "Success", JSON.stringify(status));
  return answer;
}

async function main(address) {
  const client = new MilvusClient({ address });
  await client.connectPromise;
  await client.dropCollection({ collection_name: NAME });
  ok(
    await client.createCollection({
      collection_name: NAME,
      fields: [
        { name: "id", data_type: DataType.Int64, is_primary_key: true, autoID: false },
        { name: "vector", data_type: DataType.FloatVector, dim: DIM },
        { name: "title", data_type: DataType.VarChar, max_length: 100 },
        { name: "size", data_type: DataType.Int32, nullable: true },
      ],
      enable_dynamic_field: true,
    }),
  );
  ok(
    await client.createIndex({
      collection_name: NAME,
      field_name: "vector",
      index_type: IndexType.HNSW,
      metric_type: MetricType.L2,
      params: { M: 16, efConstruction: 100 },
    }),
  );
  ok(await client.loadCollectionSync({ collection_name: NAME }));
  assert.equal((await client.hasCollection({ collection_name: NAME })).value, true);

  // Inserts, 50 at once.
  const batches = [];
  for (let start = 0; start < ROWS; start += 100) {
    const data = [];
    for (let i = start; i < start + 100; i++) {
      data.push({ id: i, vector: vectorOf(i), title: `title ${i}`, size: i % 2 ? i : null, colour: "red" });
    }
    batches.push(client.insert({ collection_name: NAME, data }));
  }
  for (const answer of await Promise.all(batches)) assert.equal(ok(answer).insert_cnt, "100");

  // Searches, 200 at once.
  const searches = [];
  for (let i = 0; i < 200; i++) {
    searches.push(
      client.search({
        collection_name: NAME,
        data: vectorOf(i),
        limit: 3,
        output_fields: ["id", "title", "colour"],
        consistency_level: "Strong",
      }),
    );
  }
  (await Promise.all(searches)).forEach((answer, i) => {
    const hit = ok(answer).results[0];
    assert.equal(hit.id, String(i));
    assert.equal(hit.title, `title ${i}`);
    assert.equal(hit.colour, "red");
  });
  const filtered = ok(
    await client.search({ collection_name: NAME, data: vectorOf(1), limit: 5, filter: "id > 100 and size is null" }),
  );
  assert.equal(filtered.results.length, 5);
  assert.ok(filtered.results.every((hit) => Number(hit.id) > 100 && Number(hit.id) % 2 === 0));

  // Queries, with a reply of everything.
  const all = ok(await client.query({ collection_name: NAME, filter: "id >= 0", output_fields: ["*"], limit: 16384 }));
  assert.equal(all.data.length, ROWS);
  assert.deepEqual(all.data[7].vector.map(Math.fround), vectorOf(7));
  const counted = ok(await client.count({ collection_name: NAME }));
  assert.equal(Number(counted.data), ROWS);

  ok(await client.upsert({ collection_name: NAME, data: [{ id: 3, vector: vectorOf(3), title: "new", size: 1 }] }));
  const changed = ok(await client.get({ collection_name: NAME, ids: [3], output_fields: ["title"] }));
  assert.equal(changed.data[0].title, "new");
  ok(await client.delete({ collection_name: NAME, ids: [1, 2] }));
  ok(await client.delete({ collection_name: NAME, filter: "id >= 4000" }));
  assert.equal(Number(ok(await client.count({ collection_name: NAME })).data), 4000 - 2);

  // Errors come as codes, not as broken connections.
  const missing = await client.query({ collection_name: "nowhere", filter: "id > 0" }).catch((error) => error);
  assert.match(JSON.stringify(missing.status ?? missing.message), /collection not found/);

  ok(await client.flushSync({ collection_names: [NAME] }));
  const described = ok(await client.describeCollection({ collection_name: NAME }));
  assert.equal(described.schema.fields.length, 4);
  ok(await client.releaseCollection({ collection_name: NAME }));
  ok(await client.dropCollection({ collection_name: NAME }));
  await client.closeConnection();
  console.log("ok");
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
