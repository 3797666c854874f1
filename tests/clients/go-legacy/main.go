// The SDK for Go that came before client/v2, on a Redkite server.
//
//	go run . HOST:PORT [USER PASSWORD CERTIFICATE]
package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
)

const (
	name = "go_legacy"
	dim  = 8
	rows = 200
)

var (
	ctx    context.Context
	milvus client.Client
	failed int
)

func step(name string, work func()) {
	defer func() {
		if found := recover(); found != nil {
			failed++
			fmt.Fprintf(os.Stderr, "FAILED %s: %v\n", name, found)
		}
	}()
	work()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func value[T any](found T, err error) T {
	must(err)
	return found
}

func same(what string, found, wanted any) {
	if !reflect.DeepEqual(found, wanted) {
		panic(fmt.Sprintf("%s: %v, not %v", what, found, wanted))
	}
}

func vectorOf(i int) []float32 {
	vector := make([]float32, dim)
	for j := range vector {
		vector[j] = float32(math.Sin(float64(i*31 + j*7)))
	}
	return vector
}

func main() {
	var cancel context.CancelFunc
	ctx, cancel = context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	config := client.Config{Address: os.Args[1]}
	if len(os.Args) > 3 {
		config.Username, config.Password = os.Args[2], os.Args[3]
	}
	if len(os.Args) > 4 {
		must(os.Setenv("SSL_CERT_FILE", os.Args[4])) // the certificates this SDK trusts are the system's
		config.Address, config.EnableTLSAuth = "https://"+os.Args[1], true
	}
	milvus = value(client.NewClient(ctx, config))
	step("create", create)
	step("write", write)
	step("read", read)
	step("iterate", iterate)
	step("partitions, aliases, databases", others)
	step("users and roles", rights)
	step("upkeep", upkeep)
	must(milvus.Close())
	if failed > 0 {
		os.Exit(1)
	}
	fmt.Println("ok")
}

func create() {
	if value(milvus.HasCollection(ctx, name)) {
		must(milvus.DropCollection(ctx, name))
	}
	schema := entity.NewSchema().WithName(name).WithDescription("the older SDK").WithDynamicFieldEnabled(true).
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("vector").WithDataType(entity.FieldTypeFloatVector).WithDim(dim)).
		WithField(entity.NewField().WithName("words").WithDataType(entity.FieldTypeSparseVector)).
		WithField(entity.NewField().WithName("name").WithDataType(entity.FieldTypeVarChar).WithMaxLength(100)).
		WithField(entity.NewField().WithName("notes").WithDataType(entity.FieldTypeJSON))
	must(milvus.CreateCollection(ctx, schema, 2, client.WithConsistencyLevel(entity.ClStrong)))
	hnsw := value(entity.NewIndexHNSW(entity.L2, 16, 100))
	must(milvus.CreateIndex(ctx, name, "vector", hnsw, false, client.WithIndexName("by_vector")))
	must(milvus.CreateIndex(ctx, name, "words", value(entity.NewIndexSparseInverted(entity.IP, 0)), false))
	must(milvus.LoadCollection(ctx, name, false))
	same("loaded", value(milvus.GetLoadState(ctx, name, nil)), entity.LoadStateLoaded)
	same("progress", value(milvus.GetLoadingProgress(ctx, name, nil)), int64(100))
	described := value(milvus.DescribeCollection(ctx, name))
	same("name", described.Name, name)
	same("shards", described.ShardNum, int32(2))
	same("fields", len(described.Schema.Fields), 5)
	same("level", described.ConsistencyLevel, entity.ClStrong)
	found := false
	for _, one := range value(milvus.ListCollections(ctx)) {
		found = found || one.Name == name && one.Loaded
	}
	same("listed and loaded", found, true)
}

func columns(from, to int) []entity.Column {
	var ids []int64
	var vectors [][]float32
	var names, colours []string
	var notes [][]byte
	var words []entity.SparseEmbedding
	for i := from; i < to; i++ {
		ids, vectors = append(ids, int64(i)), append(vectors, vectorOf(i))
		names = append(names, fmt.Sprintf("bird %d", i))
		colours = append(colours, []string{"red", "black"}[i%2])
		notes = append(notes, []byte(fmt.Sprintf(`{"eggs": %d}`, i%5)))
		words = append(words, value(entity.NewSliceSparseEmbedding([]uint32{uint32(i % 10), 50}, []float32{1, 0.5})))
	}
	return []entity.Column{
		entity.NewColumnInt64("id", ids), entity.NewColumnFloatVector("vector", dim, vectors),
		entity.NewColumnSparseVectors("words", words), entity.NewColumnVarChar("name", names),
		entity.NewColumnJSONBytes("notes", notes), entity.NewColumnVarChar("colour", colours),
	}
}

func write() {
	ids := value(milvus.Insert(ctx, name, "", columns(0, rows)...))
	same("inserted", ids.Len(), rows)
	value(milvus.Upsert(ctx, name, "", columns(0, 1)...))
	must(milvus.Delete(ctx, name, "", "id in [2]"))
	must(milvus.DeleteByPks(ctx, name, "", entity.NewColumnInt64("id", []int64{3})))
	same("rows", count(""), int64(rows-2))
	must(milvus.Flush(ctx, name, false))
	stats := value(milvus.GetCollectionStatistics(ctx, name))
	same("statistics", stats["row_count"], fmt.Sprint(rows-2))
}

func count(filter string) int64 {
	answer := value(milvus.Query(ctx, name, nil, filter, []string{"count(*)"},
		client.WithSearchQueryConsistencyLevel(entity.ClStrong)))
	return value(answer.GetColumn("count(*)").GetAsInt64(0))
}

func read() {
	params := value(entity.NewIndexHNSWSearchParam(64))
	found := value(milvus.Search(ctx, name, nil, "id > 5", []string{"name", "colour"},
		[]entity.Vector{entity.FloatVector(vectorOf(7)), entity.FloatVector(vectorOf(9))}, "vector", entity.L2, 3, params,
		client.WithSearchQueryConsistencyLevel(entity.ClStrong)))
	same("lists", len(found), 2)
	same("best", value(found[1].IDs.GetAsInt64(0)), int64(9))
	same("name", value(found[0].Fields.GetColumn("name").GetAsString(0)), "bird 7")
	same("dynamic", value(found[0].Fields.GetColumn("colour").GetAsString(0)), "black")
	same("eggs", count("notes['eggs'] == 4"), int64(rows/5))
	got := value(milvus.Get(ctx, name, entity.NewColumnInt64("id", []int64{5, 6}), client.GetWithOutputFields("vector")))
	same("got", got.GetColumn("vector").Len(), 2)
	sparse := value(entity.NewSliceSparseEmbedding([]uint32{7}, []float32{1}))
	hybrid := value(milvus.HybridSearch(ctx, name, nil, 3, []string{"name"}, client.NewRRFReranker(), []*client.ANNSearchRequest{
		client.NewANNSearchRequest("vector", entity.L2, "id < 100", []entity.Vector{entity.FloatVector(vectorOf(7))}, params, 10),
		client.NewANNSearchRequest("words", entity.IP, "id < 100", []entity.Vector{sparse},
			value(entity.NewIndexSparseInvertedSearchParam(0)), 10),
	}))
	same("hybrid", value(hybrid[0].IDs.GetAsInt64(0)), int64(7))
	_, err := milvus.Query(ctx, "go_nowhere", nil, "id > 0", nil)
	same("refused", err != nil && strings.Contains(err.Error(), "not found"), true)
}

func iterate() {
	iterator := value(milvus.QueryIterator(ctx, client.NewQueryIteratorOption(name).WithExpr("id >= 10").
		WithOutputFields("id").WithBatchSize(25)))
	next := int64(10)
	for {
		page, err := iterator.Next(ctx)
		if err == io.EOF {
			break
		}
		must(err)
		for i := range page.Len() {
			same("id", value(page.GetColumn("id").GetAsInt64(i)), next)
			next++
		}
	}
	same("end", next, int64(rows))
}

func others() {
	must(milvus.CreatePartition(ctx, name, "summer"))
	same("has", value(milvus.HasPartition(ctx, name, "summer")), true)
	same("partitions", len(value(milvus.ShowPartitions(ctx, name))), 2)
	must(milvus.LoadPartitions(ctx, name, []string{"summer"}, false))
	value(milvus.Insert(ctx, name, "summer", columns(1000, 1010)...))
	must(milvus.ReleasePartitions(ctx, name, []string{"summer"}))
	must(milvus.DropPartition(ctx, name, "summer"))
	must(milvus.CreateAlias(ctx, name, "go_old"))
	must(milvus.AlterAlias(ctx, name, "go_old"))
	must(milvus.DropAlias(ctx, "go_old"))
	must(milvus.CreateDatabase(ctx, "go_old"))
	listed := false
	for _, one := range value(milvus.ListDatabases(ctx)) {
		listed = listed || one.Name == "go_old"
	}
	same("listed", listed, true)
	must(milvus.UsingDatabase(ctx, "go_old"))
	same("collections", len(value(milvus.ListCollections(ctx))), 0)
	must(milvus.UsingDatabase(ctx, "default"))
	must(milvus.DropDatabase(ctx, "go_old"))
}

func rights() {
	must(milvus.CreateCredential(ctx, "go_old", "Secret1!"))
	must(milvus.UpdateCredential(ctx, "go_old", "Secret1!", "Secret2!"))
	same("users", slices.Contains(value(milvus.ListCredUsers(ctx)), "go_old"), true)
	must(milvus.CreateRole(ctx, "go_old"))
	must(milvus.AddUserRole(ctx, "go_old", "go_old"))
	must(milvus.Grant(ctx, "go_old", entity.PriviledegeObjectTypeCollection, name, "Search"))
	must(milvus.Revoke(ctx, "go_old", entity.PriviledegeObjectTypeCollection, name, "Search"))
	must(milvus.RemoveUserRole(ctx, "go_old", "go_old"))
	must(milvus.DropRole(ctx, "go_old"))
	must(milvus.DeleteCredential(ctx, "go_old"))
}

func upkeep() {
	found := value(milvus.DescribeIndex(ctx, name, "vector"))
	same("index", found[0].Name(), "by_vector")
	same("state", value(milvus.GetIndexState(ctx, name, "vector")), entity.IndexState(3))
	total, done, err := milvus.GetIndexBuildProgress(ctx, name, "vector")
	must(err)
	same("built", total >= rows-2 && done <= total, true)
	segments := value(milvus.GetPersistentSegmentInfo(ctx, name))
	same("segments", len(segments) > 0, true)
	id := value(milvus.ManualCompaction(ctx, name, 0))
	value(milvus.GetCompactionState(ctx, id))
	same("replicas", len(value(milvus.GetReplicas(ctx, name))), 1)
	value(milvus.GetVersion(ctx))
	state := value(milvus.CheckHealth(ctx))
	same("healthy", state.IsHealthy, true)
	must(milvus.AlterCollection(ctx, name, entity.CollectionTTL(3600)))
	must(milvus.ReleaseCollection(ctx, name))
	must(milvus.DropIndex(ctx, name, "vector", client.WithIndexName("by_vector")))
	must(milvus.RenameCollection(ctx, name, "go_renamed"))
	must(milvus.DropCollection(ctx, "go_renamed"))
}
