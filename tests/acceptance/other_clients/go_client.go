// Milvus's SDK for Go on a Redkite server: go run go_client.go HOST:PORT
// Wants a module that requires github.com/milvus-io/milvus/client/v2
package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/milvus-io/milvus/client/v2/column"
	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/index"
	"github.com/milvus-io/milvus/client/v2/milvusclient"
)

const (
	name = "from_go"
	dim  = 128
	rows = 16000
)

func vectorOf(i int) []float32 {
	vector := make([]float32, dim)
	for j := range vector {
		vector[j] = float32(math.Sin(float64(i*31 + j)))
	}
	return vector
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(ok bool, format string, args ...any) {
	if !ok {
		log.Fatalf(format, args...)
	}
}

func count(ctx context.Context, client *milvusclient.Client) int64 {
	answer, err := client.Query(ctx, milvusclient.NewQueryOption(name).WithFilter("").WithOutputFields("count(*)"))
	must(err)
	total, err := answer.GetColumn("count(*)").GetAsInt64(0)
	must(err)
	return total
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	client, err := milvusclient.New(ctx, &milvusclient.ClientConfig{Address: os.Args[1]})
	must(err)
	defer client.Close(ctx)

	must(client.DropCollection(ctx, milvusclient.NewDropCollectionOption(name)))
	schema := entity.NewSchema().WithDynamicFieldEnabled(true).
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("vector").WithDataType(entity.FieldTypeFloatVector).WithDim(dim)).
		WithField(entity.NewField().WithName("title").WithDataType(entity.FieldTypeVarChar).WithMaxLength(2000))
	hnsw := milvusclient.NewCreateIndexOption(name, "vector", index.NewHNSWIndex(entity.L2, 16, 100))
	must(client.CreateCollection(ctx, milvusclient.NewCreateCollectionOption(name, schema).WithIndexOptions(hnsw)))
	loading, err := client.LoadCollection(ctx, milvusclient.NewLoadCollectionOption(name))
	must(err)
	must(loading.Await(ctx))

	// One insert of more than 20 MB.
	ids := make([]int64, rows)
	vectors := make([][]float32, rows)
	titles := make([]string, rows)
	for i := range ids {
		ids[i], vectors[i], titles[i] = int64(i), vectorOf(i), fmt.Sprintf("title %d %s", i, strings.Repeat("x", 900))
	}
	inserted, err := client.Insert(ctx, milvusclient.NewColumnBasedInsertOption(name).
		WithInt64Column("id", ids).WithFloatVectorColumn("vector", dim, vectors).
		WithColumns(column.NewColumnVarChar("title", titles)))
	must(err)
	check(inserted.InsertCount == rows, "inserted %d", inserted.InsertCount)

	// A reply of more than 20 MB.
	all, err := client.Query(ctx, milvusclient.NewQueryOption(name).WithFilter("id >= 0").
		WithOutputFields("id", "vector", "title").WithLimit(16000).WithConsistencyLevel(entity.ClStrong))
	must(err)
	check(all.ResultCount == rows, "queried %d", all.ResultCount)
	title, err := all.GetColumn("title").GetAsString(15999)
	must(err)
	check(title == titles[15999], "a title came back as %q", title)

	// 300 searches at once on one connection.
	var group sync.WaitGroup
	for i := range 300 {
		group.Add(1)
		go func() {
			defer group.Done()
			found, err := client.Search(ctx, milvusclient.NewSearchOption(name, 3,
				[]entity.Vector{entity.FloatVector(vectorOf(i))}).WithConsistencyLevel(entity.ClStrong).
				WithOutputFields("title").WithANNSField("vector"))
			must(err)
			first, err := found[0].IDs.GetAsInt64(0)
			must(err)
			check(first == int64(i), "search %d found %d", i, first)
		}()
	}
	group.Wait()

	// A call that is given up leaves the connection working.
	for range 50 {
		short, stop := context.WithTimeout(ctx, 300*time.Microsecond)
		_, _ = client.Query(short, milvusclient.NewQueryOption(name).WithFilter("id >= 0").
			WithOutputFields("vector").WithLimit(16000))
		stop()
	}
	filtered, err := client.Search(ctx, milvusclient.NewSearchOption(name, 5,
		[]entity.Vector{entity.FloatVector(vectorOf(1))}).WithFilter("id > {least}").
		WithTemplateParam("least", 15990))
	must(err)
	check(filtered[0].ResultCount == 5, "filtered search found %d", filtered[0].ResultCount)

	_, err = client.Upsert(ctx, milvusclient.NewColumnBasedInsertOption(name).WithInt64Column("id", []int64{7}).
		WithFloatVectorColumn("vector", dim, [][]float32{vectorOf(7)}).WithVarcharColumn("title", []string{"new"}))
	must(err)
	got, err := client.Get(ctx, milvusclient.NewQueryOption(name).WithIDs(column.NewColumnInt64("id", []int64{7})).
		WithOutputFields("title"))
	must(err)
	title, err = got.GetColumn("title").GetAsString(0)
	must(err)
	check(title == "new", "after an upsert the title is %q", title)
	_, err = client.Delete(ctx, milvusclient.NewDeleteOption(name).WithInt64IDs("id", []int64{1, 2}))
	must(err)
	_, err = client.Delete(ctx, milvusclient.NewDeleteOption(name).WithExpr("id >= 15000"))
	must(err)
	check(count(ctx, client) == 14998, "after deletes there are %d", count(ctx, client))

	_, err = client.Query(ctx, milvusclient.NewQueryOption("nowhere").WithFilter("id > 0"))
	check(err != nil && strings.Contains(err.Error(), "collection not found"), "no collection: %v", err)

	// Silence longer than any keepalive interval, then another call on the same connection.
	time.Sleep(35 * time.Second)
	check(count(ctx, client) == 14998, "after a silence there are %d", count(ctx, client))
	flushing, err := client.Flush(ctx, milvusclient.NewFlushOption(name))
	must(err)
	must(flushing.Await(ctx))
	described, err := client.DescribeCollection(ctx, milvusclient.NewDescribeCollectionOption(name))
	must(err)
	check(len(described.Schema.Fields) == 3, "%d fields", len(described.Schema.Fields))
	must(client.DropCollection(ctx, milvusclient.NewDropCollectionOption(name)))
	fmt.Println("ok")
}
