package main

import (
	"github.com/milvus-io/milvus/client/v2/column"
	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/index"
	"github.com/milvus-io/milvus/client/v2/milvusclient"
)

const (
	plain = "go_plain"
	texts = "go_texts"
)

func total(name, filter string) int64 {
	answer := value(client.Query(ctx, milvusclient.NewQueryOption(name).WithFilter(filter).
		WithOutputFields("count(*)").WithConsistencyLevel(entity.ClStrong)))
	return value(answer.GetColumn("count(*)").GetAsInt64(0))
}

func writes() {
	step("a simple collection, rows as structs and maps", func() {
		type row struct {
			ID     int64     `milvus:"name:id"`
			Vector []float32 `milvus:"name:vector"`
			Colour string    `milvus:"name:colour"`
		}
		must(client.DropCollection(ctx, milvusclient.NewDropCollectionOption(plain)))
		must(client.CreateCollection(ctx, milvusclient.SimpleCreateCollectionOptions(plain, dim).WithAutoID(false).
			WithConsistencyLevel(entity.ClStrong)))
		state := value(client.GetLoadState(ctx, milvusclient.NewGetLoadStateOption(plain)))
		same("load state", state.State, entity.LoadStateCode(entity.LoadStateLoaded))
		rows := []any{&row{1, vectorOf(1), "red"}, &row{2, vectorOf(2), "black"}}
		done := value(client.Insert(ctx, milvusclient.NewRowBasedInsertOption(plain, rows...)))
		same("inserted", done.InsertCount, int64(2))
		maps := []any{map[string]any{"id": int64(3), "vector": vectorOf(3), "colour": "green"}}
		value(client.Insert(ctx, milvusclient.NewRowBasedInsertOption(plain, maps...)))
		same("rows", total(plain, ""), int64(3))
		same("green", total(plain, "colour == 'green'"), int64(1))
	})
	step("upsert", func() {
		done := value(client.Upsert(ctx, milvusclient.NewColumnBasedInsertOption(plain).
			WithInt64Column("id", []int64{1, 4}).
			WithFloatVectorColumn("vector", dim, [][]float32{vectorOf(11), vectorOf(4)}).
			WithVarcharColumn("colour", []string{"blue", "blue"})))
		same("upserted", done.UpsertCount, int64(2))
		same("blue", total(plain, "colour == 'blue'"), int64(2))
		same("red", total(plain, "colour == 'red'"), int64(0))
		same("rows", total(plain, ""), int64(4))
	})
	step("upsert of some fields", func() {
		value(client.Upsert(ctx, milvusclient.NewColumnBasedInsertOption(birds).WithPartialUpdate(true).
			WithInt64Column("id", []int64{1}).WithVarcharColumn("name", []string{"wren"})))
		found := value(client.Query(ctx, milvusclient.NewQueryOption(birds).WithFilter("name == 'wren'").
			WithOutputFields("id", "short").WithConsistencyLevel(entity.ClStrong)))
		same("kept", value(found.GetColumn("short").GetAsInt64(0)), int64(10))
	})
	step("delete", func() {
		done := value(client.Delete(ctx, milvusclient.NewDeleteOption(plain).WithInt64IDs("id", []int64{2})))
		same("by id", done.DeleteCount, int64(1))
		value(client.Delete(ctx, milvusclient.NewDeleteOption(plain).WithExpr("colour == 'green'")))
		same("rows", total(plain, ""), int64(2))
	})
	step("keys of text, made by the server", func() {
		must(client.DropCollection(ctx, milvusclient.NewDropCollectionOption("go_keys")))
		must(client.CreateCollection(ctx, milvusclient.SimpleCreateCollectionOptions("go_keys", dim).
			WithVarcharPK(true, 64).WithAutoID(true).WithConsistencyLevel(entity.ClStrong)))
		_, vectors := vectorsOf(0, 5)
		done := value(client.Insert(ctx, milvusclient.NewColumnBasedInsertOption("go_keys").
			WithFloatVectorColumn("vector", dim, vectors)))
		key := value(done.IDs.GetAsString(3))
		found := value(client.Search(ctx, milvusclient.NewSearchOption("go_keys", 1,
			[]entity.Vector{entity.FloatVector(vectorOf(3))}).WithConsistencyLevel(entity.ClStrong)))
		same("found", value(found[0].IDs.GetAsString(0)), key)
		value(client.Delete(ctx, milvusclient.NewDeleteOption("go_keys").WithStringIDs("id", []string{key})))
		same("rows", total("go_keys", ""), int64(4))
		must(client.DropCollection(ctx, milvusclient.NewDropCollectionOption("go_keys")))
	})
	step("partitions", func() {
		must(client.CreatePartition(ctx, milvusclient.NewCreatePartitionOption(plain, "summer")))
		same("has", value(client.HasPartition(ctx, milvusclient.NewHasPartitionOption(plain, "summer"))), true)
		same("has none", value(client.HasPartition(ctx, milvusclient.NewHasPartitionOption(plain, "autumn"))), false)
		contains("partitions", value(client.ListPartitions(ctx, milvusclient.NewListPartitionOption(plain))), "_default")
		task := value(client.LoadPartitions(ctx, milvusclient.NewLoadPartitionsOption(plain, "summer")))
		must(task.Await(ctx))
		ids, vectors := vectorsOf(50, 60)
		value(client.Insert(ctx, milvusclient.NewColumnBasedInsertOption(plain).WithPartition("summer").
			WithInt64Column("id", ids).WithFloatVectorColumn("vector", dim, vectors)))
		found := value(client.Search(ctx, milvusclient.NewSearchOption(plain, 20,
			[]entity.Vector{entity.FloatVector(vectorOf(50))}).WithPartitions("summer").
			WithConsistencyLevel(entity.ClStrong)))
		same("hits", found[0].ResultCount, 10)
		flush := value(client.Flush(ctx, milvusclient.NewFlushOption(plain)))
		must(flush.Await(ctx))
		stats := value(client.GetPartitionStats(ctx, milvusclient.NewGetPartitionStatsOption(plain, "summer")))
		same("statistics", stats["row_count"], "10")
		must(client.ReleasePartitions(ctx, milvusclient.NewReleasePartitionsOptions(plain, "summer")))
		must(client.DropPartition(ctx, milvusclient.NewDropPartitionOption(plain, "summer")))
		same("rows", total(plain, ""), int64(2))
	})
}

func fullText() {
	step("full-text search", func() {
		schema := entity.NewSchema().
			WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true).WithIsAutoID(true)).
			WithField(field("text", entity.FieldTypeVarChar).WithMaxLength(1000).WithEnableAnalyzer(true).
				WithEnableMatch(true)).
			WithField(field("words", entity.FieldTypeSparseVector)).
			WithFunction(entity.NewFunction().WithName("bm25").WithType(entity.FunctionTypeBM25).
				WithInputFields("text").WithOutputFields("words"))
		must(client.DropCollection(ctx, milvusclient.NewDropCollectionOption(texts)))
		must(client.CreateCollection(ctx, milvusclient.NewCreateCollectionOption(texts, schema).
			WithConsistencyLevel(entity.ClStrong).WithIndexOptions(
			milvusclient.NewCreateIndexOption(texts, "words", index.NewSparseInvertedIndex(entity.BM25, 0)))))
		task := value(client.LoadCollection(ctx, milvusclient.NewLoadCollectionOption(texts)))
		must(task.Await(ctx))
		value(client.Insert(ctx, milvusclient.NewColumnBasedInsertOption(texts,
			column.NewColumnVarChar("text", []string{"a red kite over hills", "a wren sings", "kites are made of paper"}))))
		found := value(client.Search(ctx, milvusclient.NewSearchOption(texts, 3, []entity.Vector{entity.Text("red kite")}).
			WithANNSField("words").WithOutputFields("text").WithConsistencyLevel(entity.ClStrong)))
		same("best", value(found[0].GetColumn("text").GetAsString(0)), "a red kite over hills")
		same("matches", total(texts, "text_match(text, 'wren')"), int64(1))
		described := value(client.DescribeCollection(ctx, milvusclient.NewDescribeCollectionOption(texts)))
		same("function", described.Schema.Functions[0].Name, "bm25")
	})
	step("analyzers", func() {
		found := value(client.RunAnalyzer(ctx, milvusclient.NewRunAnalyzerOption("Red Kites").
			WithAnalyzerParams(map[string]any{"type": "english"}).WithDetail()))
		words := []string{}
		for _, token := range found[0].Tokens {
			words = append(words, token.Text)
		}
		same("words", words, []string{"red", "kite"})
	})
}
