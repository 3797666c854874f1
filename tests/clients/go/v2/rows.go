package main

import (
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/milvus-io/milvus/client/v2/column"
	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/index"
	"github.com/milvus-io/milvus/client/v2/milvusclient"
)

const (
	birds = "go_birds"
	dim   = 8
	count = 200
)

func vectorOf(i int) []float32 {
	vector := make([]float32, dim)
	for j := range vector {
		vector[j] = float32(math.Sin(float64(i*31 + j*7)))
	}
	return vector
}

func vectorsOf(from, to int) (ids []int64, vectors [][]float32) {
	for i := from; i < to; i++ {
		ids, vectors = append(ids, int64(i)), append(vectors, vectorOf(i))
	}
	return
}

func field(name string, kind entity.FieldType) *entity.Field {
	return entity.NewField().WithName(name).WithDataType(kind)
}

func schemaOfBirds() *entity.Schema {
	return entity.NewSchema().WithDynamicFieldEnabled(true).WithDescription("birds of Go").
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(field("dense", entity.FieldTypeFloatVector).WithDim(dim)).
		WithField(field("half", entity.FieldTypeFloat16Vector).WithDim(dim)).
		WithField(field("bits", entity.FieldTypeBinaryVector).WithDim(16)).
		WithField(field("words", entity.FieldTypeSparseVector)).
		WithField(field("name", entity.FieldTypeVarChar).WithMaxLength(100)).
		WithField(field("rare", entity.FieldTypeBool)).
		WithField(field("tiny", entity.FieldTypeInt8)).
		WithField(field("short", entity.FieldTypeInt16)).
		WithField(field("number", entity.FieldTypeInt32).WithNullable(true)).
		WithField(field("weight", entity.FieldTypeFloat)).
		WithField(field("span", entity.FieldTypeDouble).WithDefaultValueDouble(1.5)).
		WithField(field("notes", entity.FieldTypeJSON)).
		WithField(field("tags", entity.FieldTypeArray).WithElementType(entity.FieldTypeVarChar).
			WithMaxCapacity(4).WithMaxLength(20)).
		WithField(field("place", entity.FieldTypeGeometry).WithNullable(true))
}

func columnsOfBirds(from, to int) []column.Column {
	ids, dense := vectorsOf(from, to)
	n := len(ids)
	bits, words := make([][]byte, n), make([]entity.SparseEmbedding, n)
	names, rare := make([]string, n), make([]bool, n)
	tiny, short, weight := make([]int8, n), make([]int16, n), make([]float32, n)
	notes, tags, places := make([][]byte, n), make([][]string, n), make([]string, n)
	numbers, given, colours := []int32{}, make([]bool, n), make([]string, n)
	for k := range ids {
		i := from + k
		bits[k] = []byte{byte(i), byte(i >> 8)}
		words[k] = value(entity.NewSliceSparseEmbedding([]uint32{uint32(i % 10), 100}, []float32{1, 0.5}))
		names[k], rare[k] = fmt.Sprintf("bird %d", i), i%2 == 0
		tiny[k], short[k], weight[k] = int8(i%100), int16(i*10), float32(i)/4
		notes[k] = []byte(fmt.Sprintf(`{"nest": {"eggs": %d}, "seen": %t}`, i%5, i%3 == 0))
		tags[k] = []string{"bird", fmt.Sprintf("t%d", i%7)}
		places[k] = fmt.Sprintf("POINT (%d 50)", i%90)
		colours[k] = []string{"red", "black"}[i%2]
		given[k] = i%4 != 0
		if given[k] {
			numbers = append(numbers, int32(i))
		}
	}
	return []column.Column{
		column.NewColumnInt64("id", ids),
		column.NewColumnFloatVector("dense", dim, dense),
		column.NewColumnFloat16VectorFromFp32Vector("half", dim, dense),
		column.NewColumnBinaryVector("bits", 16, bits),
		column.NewColumnSparseVectors("words", words),
		column.NewColumnVarChar("name", names),
		column.NewColumnBool("rare", rare),
		column.NewColumnInt8("tiny", tiny),
		column.NewColumnInt16("short", short),
		value(column.NewNullableColumnInt32("number", numbers, given)),
		column.NewColumnFloat("weight", weight),
		column.NewColumnJSONBytes("notes", notes),
		column.NewColumnVarCharArray("tags", tags),
		column.NewColumnGeometryWKT("place", places),
		column.NewColumnVarChar("colour", colours),
	}
}

func everyType() {
	step("create a collection with a field of every type", func() {
		must(client.DropCollection(ctx, milvusclient.NewDropCollectionOption(birds)))
		must(client.CreateCollection(ctx, milvusclient.NewCreateCollectionOption(birds, schemaOfBirds()).
			WithShardNum(1).WithConsistencyLevel(entity.ClStrong)))
		indexes := map[string]index.Index{
			"dense": index.NewHNSWIndex(entity.COSINE, 16, 100),
			"half":  index.NewIvfFlatIndex(entity.L2, 8),
			"bits":  index.NewBinFlatIndex(entity.HAMMING),
			"words": index.NewSparseInvertedIndex(entity.IP, 0),
			"name":  index.NewInvertedIndex(),
			"rare":  index.NewBitmapIndex(),
			"place": index.NewRTreeIndex(),
		}
		for name, wanted := range indexes {
			task := value(client.CreateIndex(ctx, milvusclient.NewCreateIndexOption(birds, name, wanted)))
			must(task.Await(ctx))
		}
		task := value(client.LoadCollection(ctx, milvusclient.NewLoadCollectionOption(birds)))
		must(task.Await(ctx))
		state := value(client.GetLoadState(ctx, milvusclient.NewGetLoadStateOption(birds)))
		same("load state", state.State, entity.LoadStateCode(entity.LoadStateLoaded))
	})
	step("insert columns", func() {
		done := value(client.Insert(ctx, milvusclient.NewColumnBasedInsertOption(birds, columnsOfBirds(0, count)...)))
		same("inserted", done.InsertCount, int64(count))
		same("ids", done.IDs.Len(), count)
		same("an id", value(done.IDs.GetAsInt64(7)), int64(7))
	})
	step("read every type back", func() {
		found := value(client.Query(ctx, milvusclient.NewQueryOption(birds).WithFilter("id in [7, 8]").
			WithOutputFields("*", "colour").WithConsistencyLevel(entity.ClStrong)))
		same("rows", found.ResultCount, 2)
		at := 0
		if value(found.GetColumn("id").GetAsInt64(0)) != 7 {
			at = 1
		}
		same("name", value(found.GetColumn("name").GetAsString(at)), "bird 7")
		same("rare", value(found.GetColumn("rare").GetAsBool(at)), false)
		same("tiny", value(found.GetColumn("tiny").GetAsInt64(at)), int64(7))
		same("short", value(found.GetColumn("short").GetAsInt64(at)), int64(70))
		same("number", value(found.GetColumn("number").GetAsInt64(at)), int64(7))
		same("no number", value(found.GetColumn("number").IsNull(1-at)), true)
		same("weight", value(found.GetColumn("weight").GetAsDouble(at)), 1.75)
		same("default", value(found.GetColumn("span").GetAsDouble(at)), 1.5)
		same("place", value(found.GetColumn("place").GetAsString(at)), "POINT (7 50)")
		same("dense", value(found.GetColumn("dense").Get(at)), entity.FloatVector(vectorOf(7)))
		same("bits", value(found.GetColumn("bits").Get(at)), entity.BinaryVector([]byte{7, 0}))
		same("half", value(found.GetColumn("half").Get(at)), entity.FloatVector(vectorOf(7)).ToFloat16Vector())
		sparse := value(found.GetColumn("words").Get(at)).(entity.SparseEmbedding)
		same("words", sparse.Len(), 2)
		tags := found.GetColumn("tags").(*column.ColumnVarCharArray).Data()[at]
		same("tags", tags, []string{"bird", "t0"})
		notes := value(found.GetColumn("notes").Get(at)).([]byte)
		same("notes", string(notes), `{"nest": {"eggs": 2}, "seen": false}`)
		same("dynamic", value(found.GetColumn("colour").GetAsString(at)), "black")
	})
}

func search(limit, of int) interface {
	milvusclient.SearchOption
} {
	return milvusclient.NewSearchOption(birds, limit, []entity.Vector{entity.FloatVector(vectorOf(of))}).
		WithANNSField("dense").WithOutputFields("name", "colour").WithConsistencyLevel(entity.ClStrong)
}

func reads() {
	query := entity.FloatVector(vectorOf(3))
	step("search", func() {
		found := value(client.Search(ctx, search(5, 3)))
		same("lists", len(found), 1)
		same("hits", found[0].ResultCount, 5)
		same("best", value(found[0].IDs.GetAsInt64(0)), int64(3))
		check(math.Abs(float64(found[0].Scores[0])-1) < 1e-5, "score %f", found[0].Scores[0])
		check(slices.IsSortedFunc(found[0].Scores, func(a, b float32) int { return int(math.Copysign(1, float64(b-a))) }),
			"scores are not in order: %v", found[0].Scores)
		same("name", value(found[0].GetColumn("name").GetAsString(0)), "bird 3")
		same("dynamic", value(found[0].GetColumn("colour").GetAsString(0)), "black")
	})
	step("search several vectors with a filter and parameters", func() {
		found := value(client.Search(ctx, milvusclient.NewSearchOption(birds, 4,
			[]entity.Vector{query, entity.FloatVector(vectorOf(150))}).WithANNSField("dense").
			WithFilter("id > {least} and name like 'bird 1%'").WithTemplateParam("least", 100).
			WithAnnParam(index.NewHNSWAnnParam(64)).WithConsistencyLevel(entity.ClStrong)))
		same("lists", len(found), 2)
		same("best of the second", value(found[1].IDs.GetAsInt64(0)), int64(150))
		for _, list := range found {
			same("hits", list.ResultCount, 4)
			for i := range list.ResultCount {
				check(value(list.IDs.GetAsInt64(i)) > 100, "a hit that does not match")
			}
		}
	})
	step("search other kinds of vectors", func() {
		sparse := value(entity.NewSliceSparseEmbedding([]uint32{3}, []float32{1}))
		for name, vector := range map[string]entity.Vector{
			"words": sparse, "bits": entity.BinaryVector([]byte{3, 0}), "half": query.ToFloat16Vector(),
		} {
			found := value(client.Search(ctx, milvusclient.NewSearchOption(birds, 3, []entity.Vector{vector}).
				WithANNSField(name).WithConsistencyLevel(entity.ClStrong)))
			same(name, value(found[0].IDs.GetAsInt64(0))%10, int64(3))
		}
	})
	step("search by pages, ranges and groups", func() {
		whole := value(client.Search(ctx, search(10, 3)))
		page := value(client.Search(ctx, milvusclient.NewSearchOption(birds, 5, []entity.Vector{query}).
			WithANNSField("dense").WithOffset(5).WithConsistencyLevel(entity.ClStrong)))
		same("page", value(page[0].IDs.GetAsInt64(0)), value(whole[0].IDs.GetAsInt64(5)))
		near := value(client.Search(ctx, milvusclient.NewSearchOption(birds, 100, []entity.Vector{query}).
			WithANNSField("dense").WithSearchParam("radius", "0.9").WithConsistencyLevel(entity.ClStrong)))
		for _, score := range near[0].Scores {
			check(score > 0.9, "out of range: %f", score)
		}
		groups := value(client.Search(ctx, milvusclient.NewSearchOption(birds, 2, []entity.Vector{query}).
			WithANNSField("dense").WithGroupByField("rare").WithOutputFields("rare").
			WithConsistencyLevel(entity.ClStrong)))
		same("groups", groups[0].ResultCount, 2)
		check(value(groups[0].GetColumn("rare").GetAsBool(0)) != value(groups[0].GetColumn("rare").GetAsBool(1)),
			"one group twice")
	})
	step("hybrid search", func() {
		sparse := value(entity.NewSliceSparseEmbedding([]uint32{3}, []float32{1}))
		for _, reranker := range []milvusclient.Reranker{
			milvusclient.NewRRFReranker(), milvusclient.NewWeightedReranker([]float64{0.7, 0.3}),
		} {
			found := value(client.HybridSearch(ctx, milvusclient.NewHybridSearchOption(birds, 3,
				milvusclient.NewAnnRequest("dense", 10, query).WithFilter("id < 100"),
				milvusclient.NewAnnRequest("words", 10, sparse).WithFilter("id < 100"),
			).WithReranker(reranker).WithOutputFields("name").WithConsistencyLevel(entity.ClStrong)))
			same("best", value(found[0].IDs.GetAsInt64(0)), int64(3))
			same("hits", found[0].ResultCount, 3)
		}
	})
	step("query", func() {
		found := value(client.Query(ctx, milvusclient.NewQueryOption(birds).
			WithFilter("notes['nest']['eggs'] == 4 and array_contains(tags, 't2') and colour == 'red'").
			WithOutputFields("id").WithLimit(3).WithConsistencyLevel(entity.ClStrong)))
		same("rows", found.ResultCount, 3)
		total := value(client.Query(ctx, milvusclient.NewQueryOption(birds).WithFilter("number is null").
			WithOutputFields("count(*)").WithConsistencyLevel(entity.ClStrong)))
		same("count", value(total.GetColumn("count(*)").GetAsInt64(0)), int64(count/4))
		got := value(client.Get(ctx, milvusclient.NewQueryOption(birds).
			WithIDs(column.NewColumnInt64("id", []int64{5, 6})).WithOutputFields("name")))
		same("got", got.ResultCount, 2)
	})
	step("errors say what is wrong", func() {
		_, err := client.Query(ctx, milvusclient.NewQueryOption("go_nowhere").WithFilter("id > 0"))
		refused("no collection", err, "collection not found")
		_, err = client.Search(ctx, milvusclient.NewSearchOption(birds, 3, []entity.Vector{query}).
			WithANNSField("dense").WithFilter("id >> "))
		refused("a filter", err, "cannot parse expression")
		_, err = client.Search(ctx, milvusclient.NewSearchOption(birds, 3,
			[]entity.Vector{entity.FloatVector{1, 2}}).WithANNSField("dense"))
		refused("a dimension", err, "dim")
	})
}

func iterators() {
	step("query iterator", func() {
		iterator := value(client.QueryIterator(ctx, milvusclient.NewQueryIteratorOption(birds).
			WithFilter("id >= 20").WithOutputFields("name").WithBatchSize(33).
			WithConsistencyLevel(entity.ClStrong)))
		next := int64(20)
		for {
			page, err := iterator.Next(ctx)
			if err == io.EOF {
				break
			}
			must(err)
			check(page.ResultCount <= 33, "a page of %d", page.ResultCount)
			for i := range page.ResultCount {
				same("name", value(page.GetColumn("name").GetAsString(i)), fmt.Sprintf("bird %d", next))
				next++
			}
		}
		same("end", next, int64(count))
	})
	step("search iterator", func() {
		iterator := value(client.SearchIterator(ctx, milvusclient.NewSearchIteratorOption(birds,
			entity.FloatVector(vectorOf(9))).WithANNSField("dense").WithBatchSize(30).WithFilter("id < 150").
			WithConsistencyLevel(entity.ClStrong)))
		seen, last := map[int64]bool{}, float32(2)
		for {
			page, err := iterator.Next(ctx)
			if err == io.EOF {
				break
			}
			must(err)
			for i := range page.ResultCount {
				id := value(page.IDs.GetAsInt64(i))
				check(!seen[id], "%d came twice", id)
				check(page.Scores[i] <= last, "scores are not in order")
				seen[id], last = true, page.Scores[i]
			}
		}
		same("seen", len(seen), 150)
	})
}
