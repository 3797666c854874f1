// Full-text search and analyzers.
const { DataType, FunctionType } = require("@zilliz/milvus2-sdk-node");
const { assert, run, ok } = require("./steps");

const TEXTS = "node_texts";

module.exports = async ({ client }) => {
  await run("full-text search", async () => {
    await client.dropCollection({ collection_name: TEXTS });
    ok(await client.createCollection({
      collection_name: TEXTS,
      fields: [
        { name: "id", data_type: DataType.Int64, is_primary_key: true, autoID: true },
        { name: "text", data_type: DataType.VarChar, max_length: 1000, enable_analyzer: true, enable_match: true },
        { name: "words", data_type: DataType.SparseFloatVector },
      ],
      functions: [{
        name: "bm25", type: FunctionType.BM25, input_field_names: ["text"], output_field_names: ["words"], params: {},
      }],
      index_params: [{ field_name: "words", index_type: "SPARSE_INVERTED_INDEX", metric_type: "BM25" }],
      consistency_level: "Strong",
    }));
    const data = ["a red kite over hills", "a wren sings", "kites are made of paper"].map((text) => ({ text }));
    ok(await client.insert({ collection_name: TEXTS, data }));
    const found = ok(await client.search({
      collection_name: TEXTS, data: "red kite", anns_field: "words", limit: 3, output_fields: ["text"],
    }));
    assert.equal(found.results[0].text, "a red kite over hills");
    const counted = ok(await client.count({ collection_name: TEXTS, expr: "text_match(text, 'wren')" }));
    assert.equal(counted.data, 1);
    const described = ok(await client.describeCollection({ collection_name: TEXTS }));
    assert.equal(described.schema.functions[0].name, "bm25");
    assert.equal(described.schema.functions[0].type, "BM25");
  });
  await run("analyzers", async () => {
    const found = ok(await client.runAnalyzer({ text: ["Red Kites"], analyzer_params: { type: "english" } }));
    assert.deepEqual(found.results[0].tokens.map((token) => token.token ?? token), ["red", "kite"]);
  });
};
