package redkite;

import static redkite.Steps.*;

import io.milvus.orm.iterator.QueryIterator;
import io.milvus.orm.iterator.SearchIterator;
import io.milvus.orm.iterator.SearchIteratorV2;
import io.milvus.response.QueryResultsWrapper;
import io.milvus.v2.client.MilvusClientV2;
import io.milvus.v2.common.ConsistencyLevel;
import io.milvus.v2.common.IndexParam;
import io.milvus.v2.service.collection.request.CreateCollectionReq;
import io.milvus.v2.service.vector.request.AnnSearchReq;
import io.milvus.v2.service.vector.request.GetReq;
import io.milvus.v2.service.vector.request.HybridSearchReq;
import io.milvus.v2.service.vector.request.QueryIteratorReq;
import io.milvus.v2.service.vector.request.QueryReq;
import io.milvus.v2.service.vector.request.SearchIteratorReq;
import io.milvus.v2.service.vector.request.SearchIteratorReqV2;
import io.milvus.v2.service.vector.request.SearchReq;
import io.milvus.v2.service.vector.request.data.BaseVector;
import io.milvus.v2.service.vector.request.data.BinaryVec;
import io.milvus.v2.service.vector.request.data.Float16Vec;
import io.milvus.v2.service.vector.request.data.FloatVec;
import io.milvus.v2.service.vector.request.data.SparseFloatVec;
import io.milvus.v2.service.vector.request.ranker.RRFRanker;
import io.milvus.v2.service.vector.request.ranker.WeightedRanker;
import io.milvus.v2.service.vector.response.SearchResp;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** Searches, queries and iterators. */
final class Reads {
    private final MilvusClientV2 client;

    Reads(MilvusClientV2 client) {
        this.client = client;
    }

    void run() {
        step("search", this::search);
        step("search several vectors with a filter", this::filtered);
        step("search other kinds of vectors", this::kinds);
        step("search by pages, ranges and groups", this::pages);
        step("hybrid search", this::hybrid);
        step("query", this::query);
        step("query iterator", this::queryIterator);
        step("search iterator", this::searchIterator);
        step("search iterator of the first protocol", this::oldSearchIterator);
        step("errors say what is wrong", this::errors);
    }

    private void search() {
        SearchResp found = client.search(dense(3).limit(5).outputFields(List.of("name", "colour")).build());
        same("lists", found.getSearchResults().size(), 1);
        List<SearchResp.SearchResult> hits = found.getSearchResults().get(0);
        same("hits", hits.size(), 5);
        same("best", hits.get(0).getId(), 3L);
        check(Math.abs(hits.get(0).getScore() - 1) < 1e-5, "score " + hits.get(0).getScore());
        same("name", hits.get(0).getEntity().get("name"), "bird 3");
        same("dynamic", String.valueOf(hits.get(0).getEntity().get("colour")), "black");
        for (int i = 1; i < hits.size(); i++) {
            check(hits.get(i - 1).getScore() >= hits.get(i).getScore(), "scores are not in order");
        }
    }

    private void filtered() {
        SearchResp found = client.search(dense(3).data(List.of(new FloatVec(vectorOf(3)), new FloatVec(vectorOf(150))))
                .limit(4).filter("id > {least} and name like 'bird 1%'").filterTemplateValues(Map.of("least", 100))
                .searchParams(Map.of("ef", 64)).build());
        same("lists", found.getSearchResults().size(), 2);
        same("best of the second", found.getSearchResults().get(1).get(0).getId(), 150L);
        for (List<SearchResp.SearchResult> list : found.getSearchResults()) {
            same("hits", list.size(), 4);
            list.forEach(hit -> check((Long) hit.getId() > 100, "a hit that does not match"));
        }
    }

    private void kinds() {
        Map<String, BaseVector> queries = Map.of(
                "words", new SparseFloatVec(new TreeMap<>(Map.of(3L, 1f))),
                "bits", new BinaryVec(new byte[] {3, 0}),
                "half", new Float16Vec(vectorOf(3)));
        queries.forEach((field, vector) -> {
            SearchResp found = client.search(dense(3).annsField(field).data(List.of(vector)).limit(3).build());
            same(field, (Long) found.getSearchResults().get(0).get(0).getId() % 10, 3L);
        });
    }

    private void pages() {
        List<SearchResp.SearchResult> whole = client.search(dense(3).limit(10).build()).getSearchResults().get(0);
        List<SearchResp.SearchResult> page =
                client.search(dense(3).offset(5).limit(5).build()).getSearchResults().get(0);
        same("page", page.get(0).getId(), whole.get(5).getId());
        List<SearchResp.SearchResult> close = client.search(dense(3).limit(100)
                .searchParams(Map.of("radius", 0.9, "range_filter", 1.1)).build()).getSearchResults().get(0);
        check(!close.isEmpty(), "nothing in range");
        close.forEach(hit -> check(hit.getScore() > 0.9, "out of range"));
        List<SearchResp.SearchResult> groups = client.search(dense(3).limit(2).groupByFieldName("rare")
                .outputFields(List.of("rare")).build()).getSearchResults().get(0);
        same("groups", groups.size(), 2);
        check(groups.get(0).getEntity().get("rare") != groups.get(1).getEntity().get("rare"), "one group twice");
    }

    private void hybrid() {
        for (CreateCollectionReq.Function ranker : List.of(
                RRFRanker.builder().k(60).build(), WeightedRanker.builder().weights(List.of(0.7f, 0.3f)).build())) {
            SearchResp found = client.hybridSearch(HybridSearchReq.builder().collectionName(BIRDS).searchRequests(List.of(
                    AnnSearchReq.builder().vectorFieldName("dense").vectors(List.of(new FloatVec(vectorOf(3))))
                            .limit(10).filter("id < 100").build(),
                    AnnSearchReq.builder().vectorFieldName("words").limit(10).filter("id < 100")
                            .vectors(List.of(new SparseFloatVec(new TreeMap<>(Map.of(3L, 1f))))).build()))
                    .ranker(ranker).limit(3).outFields(List.of("name")).consistencyLevel(ConsistencyLevel.STRONG).build());
            same("hits", found.getSearchResults().get(0).size(), 3);
            same("best", found.getSearchResults().get(0).get(0).getEntity().get("name"), "bird 3");
        }
    }

    private void query() {
        same("rows", client.query(QueryReq.builder().collectionName(BIRDS)
                .filter("notes['nest']['eggs'] == 4 and array_contains(tags, 't2') and colour == 'red'")
                .outputFields(List.of("id")).limit(3).consistencyLevel(ConsistencyLevel.STRONG).build())
                .getQueryResults().size(), 3);
        same("count", Changes.count(client, BIRDS, "number is null"), (long) COUNT / 4);
        same("got", client.get(GetReq.builder().collectionName(BIRDS).ids(List.of(5L, 6L))
                .outputFields(List.of("name")).build()).getGetResults().size(), 2);
    }

    private void queryIterator() {
        QueryIterator iterator = client.queryIterator(QueryIteratorReq.builder().collectionName(BIRDS)
                .expr("id >= 20").outputFields(List.of("id", "name")).batchSize(33L)
                .consistencyLevel(ConsistencyLevel.STRONG).build());
        long next = 20;
        while (true) {
            List<QueryResultsWrapper.RowRecord> page = iterator.next();
            if (page.isEmpty()) {
                break;
            }
            check(page.size() <= 33, "a page of " + page.size());
            for (QueryResultsWrapper.RowRecord row : page) {
                same("name", row.get("name"), "bird " + next);
                next++;
            }
        }
        iterator.close();
        same("end", next, (long) COUNT);
    }

    private void searchIterator() {
        SearchIteratorV2 iterator = client.searchIteratorV2(SearchIteratorReqV2.builder().collectionName(BIRDS)
                .vectorFieldName("dense").vectors(List.of(new FloatVec(vectorOf(9)))).batchSize(30L)
                .filter("id < 150").metricType(IndexParam.MetricType.COSINE).outputFields(List.of("name"))
                .consistencyLevel(ConsistencyLevel.STRONG).build());
        Set<Object> seen = new HashSet<>();
        float last = 2;
        while (true) {
            List<SearchResp.SearchResult> page = iterator.next();
            if (page.isEmpty()) {
                break;
            }
            for (SearchResp.SearchResult hit : page) {
                check(seen.add(hit.getId()), hit.getId() + " came twice");
                check(hit.getScore() <= last, "scores are not in order");
                last = hit.getScore();
            }
        }
        iterator.close();
        same("seen", seen.size(), 150);
    }

    private void oldSearchIterator() {
        SearchIterator iterator = client.searchIterator(SearchIteratorReq.builder().collectionName(BIRDS)
                .vectorFieldName("dense").vectors(List.of(new FloatVec(vectorOf(9)))).batchSize(30L)
                .expr("id < 150").metricType(IndexParam.MetricType.COSINE).params("{}")
                .outputFields(List.of("id")).consistencyLevel(ConsistencyLevel.STRONG).build());
        Set<Object> seen = new HashSet<>();
        while (true) {
            List<QueryResultsWrapper.RowRecord> page = iterator.next();
            if (page.isEmpty()) {
                break;
            }
            page.forEach(row -> check(seen.add(row.get("id")), row.get("id") + " came twice"));
        }
        iterator.close();
        same("seen", seen.size(), 150);
    }

    private void errors() throws Exception {
        refused("collection not found", () -> client.query(
                QueryReq.builder().collectionName("java_nowhere").filter("id > 0").build()));
        refused("cannot parse expression", () -> client.search(dense(1).filter("id >> ").build()));
        refused("dim", () -> client.search(dense(1).data(List.of(new FloatVec(List.of(1f, 2f)))).build()));
    }

    private static SearchReq.SearchReqBuilder dense(int i) {
        return SearchReq.builder().collectionName(BIRDS).annsField("dense").data(List.of(new FloatVec(vectorOf(i))))
                .limit(3).consistencyLevel(ConsistencyLevel.STRONG);
    }
}
