// A field of every type: created, indexed, filled and read back.
const { DataType, IndexType, MetricType } = require("@zilliz/milvus2-sdk-node");
const { assert, run, ok, vectorOf, DIM, COUNT, BIRDS } = require("./steps");

const FIELDS = [
  { name: "id", data_type: DataType.Int64, is_primary_key: true, autoID: false },
  { name: "dense", data_type: DataType.FloatVector, dim: DIM },
  { name: "half", data_type: DataType.Float16Vector, dim: DIM },
  { name: "brain", data_type: DataType.BFloat16Vector, dim: DIM },
  { name: "bits", data_type: DataType.BinaryVector, dim: 16 },
  { name: "words", data_type: DataType.SparseFloatVector },
  { name: "name", data_type: DataType.VarChar, max_length: 100 },
  { name: "rare", data_type: DataType.Bool },
  { name: "tiny", data_type: DataType.Int8 },
  { name: "short", data_type: DataType.Int16 },
  { name: "number", data_type: DataType.Int32, nullable: true },
  { name: "weight", data_type: DataType.Float },
  { name: "span", data_type: DataType.Double, default_value: 1.5 },
  { name: "notes", data_type: DataType.JSON },
  { name: "tags", data_type: DataType.Array, element_type: DataType.VarChar, max_capacity: 4, max_length: 20 },
  { name: "sizes", data_type: DataType.Array, element_type: DataType.Int64, max_capacity: 4 },
  { name: "seen", data_type: DataType.Timestamptz, nullable: true },
  { name: "place", data_type: DataType.Geometry, nullable: true },
];

function birdOf(i) {
  return {
    id: i,
    dense: vectorOf(i),
    half: vectorOf(i),
    brain: vectorOf(i),
    bits: [i & 255, i >> 8],
    words: { [i % 10]: 1, 100: 0.5 },
    name: `bird ${i}`,
    rare: i % 2 === 0,
    tiny: i % 100,
    short: i * 10,
    number: i % 4 === 0 ? null : i,
    weight: i / 4,
    notes: { nest: { eggs: i % 5 }, seen: i % 3 === 0 },
    tags: ["bird", `t${i % 7}`],
    sizes: [i, i + 1],
    seen: i % 2 === 0 ? null : "2026-01-02T03:04:05Z",
    place: `POINT (${i % 90} 50)`,
    colour: i % 2 === 0 ? "red" : "black",
  };
}

module.exports = async ({ client }) => {
  await run("create a collection with a field of every type", async () => {
    await client.dropCollection({ collection_name: BIRDS });
    ok(
      await client.createCollection({
        collection_name: BIRDS,
        description: "birds of Node",
        fields: FIELDS,
        enable_dynamic_field: true,
        consistency_level: "Strong",
      }),
    );
    const indexes = {
      dense: [IndexType.HNSW, MetricType.COSINE, { M: 16, efConstruction: 100 }],
      half: [IndexType.IVF_FLAT, MetricType.L2, { nlist: 8 }],
      brain: [IndexType.AUTOINDEX, MetricType.COSINE, {}],
      bits: [IndexType.BIN_FLAT, MetricType.HAMMING, {}],
      words: [IndexType.SPARSE_INVERTED_INDEX, MetricType.IP, { inverted_index_algo: "DAAT_MAXSCORE" }],
      name: [IndexType.INVERTED, undefined, {}],
      rare: [IndexType.BITMAP, undefined, {}],
    };
    for (const [field_name, [index_type, metric_type, params]] of Object.entries(indexes)) {
      ok(await client.createIndex({ collection_name: BIRDS, field_name, index_type, metric_type, params }));
    }
    ok(await client.loadCollectionSync({ collection_name: BIRDS }));
    assert.equal(ok(await client.getLoadState({ collection_name: BIRDS })).state, "LoadStateLoaded");
    assert.equal(Number(ok(await client.getLoadingProgress({ collection_name: BIRDS })).progress), 100);
  });
  await run("insert rows", async () => {
    const data = Array.from({ length: COUNT }, (_, i) => birdOf(i));
    const done = ok(await client.insert({ collection_name: BIRDS, data }));
    assert.equal(done.insert_cnt, String(COUNT));
    assert.equal(done.IDs.int_id.data[7], "7");
    assert.equal(done.succ_index.length, COUNT);
  });
  await run("read every type back", async () => {
    const found = ok(await client.query({ collection_name: BIRDS, filter: "id == 7", output_fields: ["*"] }));
    const wanted = birdOf(7);
    const row = found.data[0];
    for (const name of ["rare", "tiny", "short", "number", "weight", "tags", "name", "bits", "place"]) {
      assert.deepEqual(row[name], wanted[name], name);
    }
    assert.deepEqual(row.$meta, { colour: "black" });
    assert.deepEqual(row.dense.map(Math.fround), wanted.dense);
    row.half.forEach((value, at) => assert.ok(Math.abs(value - wanted.half[at]) < 1e-3, "half"));
    row.brain.forEach((value, at) => assert.ok(Math.abs(value - wanted.brain[at]) < 1e-2, "brain"));
    assert.deepEqual({ ...row.words }, wanted.words);
    assert.deepEqual(row.notes, wanted.notes);
    assert.deepEqual(row.sizes.map(Number), wanted.sizes);
    assert.equal(row.span, 1.5);
    assert.equal(new Date(row.seen).getTime(), Date.UTC(2026, 0, 2, 3, 4, 5));
    const even = ok(await client.query({ collection_name: BIRDS, filter: "id == 8", output_fields: ["number", "seen"] }));
    assert.equal(even.data[0].number, null);
    assert.equal(even.data[0].seen, null);
  });
};
