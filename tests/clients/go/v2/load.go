package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/milvus-io/milvus/client/v2/column"
	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/milvusclient"
)

const (
	large = "go_large"
	rows  = 16000
)

// load is about messages of many megabytes, many calls on one connection, and calls that are given up.
func load() {
	titles := make([]string, rows)
	ids, vectors := vectorsOf(0, rows)
	for i := range titles {
		titles[i] = fmt.Sprintf("title %d %s", i, strings.Repeat("x", 1200))
	}
	step("large messages", func() {
		must(client.DropCollection(ctx, milvusclient.NewDropCollectionOption(large)))
		must(client.CreateCollection(ctx, milvusclient.SimpleCreateCollectionOptions(large, dim).WithAutoID(false).
			WithConsistencyLevel(entity.ClStrong)))
		done := value(client.Insert(ctx, milvusclient.NewColumnBasedInsertOption(large).
			WithInt64Column("id", ids).WithFloatVectorColumn("vector", dim, vectors).
			WithColumns(column.NewColumnVarChar("title", titles))))
		same("inserted", done.InsertCount, int64(rows))
		all := value(client.Query(ctx, milvusclient.NewQueryOption(large).WithFilter("id >= 0").
			WithOutputFields("id", "vector", "title").WithLimit(rows).WithConsistencyLevel(entity.ClStrong)))
		same("rows", all.ResultCount, rows)
		same("a title", value(all.GetColumn("title").GetAsString(rows-1)), titles[rows-1])
	})
	step("300 searches at once", func() {
		var group sync.WaitGroup
		errors := make(chan string, 300)
		for i := range 300 {
			group.Add(1)
			go func() {
				defer group.Done()
				found, err := client.Search(ctx, milvusclient.NewSearchOption(large, 3,
					[]entity.Vector{entity.FloatVector(vectors[i])}).WithConsistencyLevel(entity.ClStrong))
				if err != nil || len(found) == 0 || found[0].Scores[0] < 0.9999 {
					errors <- fmt.Sprintf("search %d: %v, %v", i, found, err)
				}
			}()
		}
		group.Wait()
		close(errors)
		for text := range errors {
			panic(text)
		}
	})
	step("calls that are given up", func() {
		for range 50 {
			short, stop := context.WithTimeout(ctx, 300*time.Microsecond)
			_, _ = client.Query(short, milvusclient.NewQueryOption(large).WithFilter("id >= 0").
				WithOutputFields("vector").WithLimit(rows))
			stop()
		}
		same("rows", total(large, ""), int64(rows))
	})
	step("a silence longer than the interval of pings", func() {
		time.Sleep(12 * time.Second)
		same("rows", total(large, ""), int64(rows))
		must(client.DropCollection(ctx, milvusclient.NewDropCollectionOption(large)))
	})
}
