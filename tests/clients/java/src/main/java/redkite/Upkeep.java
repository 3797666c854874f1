package redkite;

import static redkite.Steps.*;

import io.milvus.v2.client.MilvusClientV2;
import io.milvus.v2.service.collection.request.DescribeReplicasReq;
import io.milvus.v2.service.collection.request.DropCollectionReq;
import io.milvus.v2.service.collection.request.GetCollectionStatsReq;
import io.milvus.v2.service.collection.request.GetLoadStateReq;
import io.milvus.v2.service.collection.request.HasCollectionReq;
import io.milvus.v2.service.collection.request.RefreshLoadReq;
import io.milvus.v2.service.collection.request.ReleaseCollectionReq;
import io.milvus.v2.service.collection.request.TruncateCollectionReq;
import io.milvus.v2.service.index.request.AlterIndexPropertiesReq;
import io.milvus.v2.service.index.request.DropIndexPropertiesReq;
import io.milvus.v2.service.resourcegroup.request.ListResourceGroupsReq;
import io.milvus.v2.service.utility.request.CompactReq;
import io.milvus.v2.service.utility.request.FlushAllReq;
import io.milvus.v2.service.utility.request.FlushReq;
import io.milvus.v2.service.utility.request.GetCompactionStateReq;
import io.milvus.v2.service.utility.request.GetPersistentSegmentInfoReq;
import io.milvus.v2.service.utility.request.GetQuerySegmentInfoReq;
import io.milvus.v2.service.utility.response.GetPersistentSegmentInfoResp;
import io.milvus.v2.service.vector.request.QueryReq;
import java.util.List;

/** Flushing, compacting, statistics, and the end of every collection. */
final class Upkeep {
    private final MilvusClientV2 client;

    Upkeep(MilvusClientV2 client) {
        this.client = client;
    }

    void run() {
        step("flush, compact, statistics", this::keep);
        step("release and drop", this::drop);
    }

    private void keep() {
        client.flush(FlushReq.builder().collectionNames(List.of(BIRDS)).build());
        client.flushAll(FlushAllReq.builder().build());
        same("rows", client.getCollectionStats(GetCollectionStatsReq.builder().collectionName(BIRDS).build())
                .getNumOfEntities(), (long) COUNT);
        long rows = 0;
        for (GetPersistentSegmentInfoResp.PersistentSegmentInfo segment : client.getPersistentSegmentInfo(
                GetPersistentSegmentInfoReq.builder().collectionName(BIRDS).build()).getSegmentInfos()) {
            rows += segment.getNumOfRows();
        }
        check(rows >= COUNT, "segments hold " + rows + " rows");
        client.getQuerySegmentInfo(GetQuerySegmentInfoReq.builder().collectionName(BIRDS).build());
        Long id = client.compact(CompactReq.builder().collectionName(BIRDS).build()).getCompactionID();
        check(client.getCompactionState(GetCompactionStateReq.builder().compactionID(id).build()).getState() != null,
                "no state");
        client.refreshLoad(RefreshLoadReq.builder().collectionName(BIRDS).build());
        check(!client.getServerVersion().isEmpty(), "no version");
        same("healthy", client.checkHealth().getIsHealthy(), true);
        same("replicas", client.describeReplicas(DescribeReplicasReq.builder().collectionName(BIRDS).build())
                .getReplicas().size(), 1);
        contains("resource groups", client.listResourceGroups(ListResourceGroupsReq.builder().build()).getGroupNames(),
                "__default_resource_group");
        client.truncateCollection(TruncateCollectionReq.builder().collectionName(PLAIN).build());
        same("truncated", Changes.count(client, PLAIN, ""), 0L);
    }

    private void drop() throws Exception {
        client.releaseCollection(ReleaseCollectionReq.builder().collectionName(BIRDS).build());
        same("loaded", client.getLoadState(GetLoadStateReq.builder().collectionName(BIRDS).build()), false);
        client.alterIndexProperties(AlterIndexPropertiesReq.builder().collectionName(BIRDS).indexName("dense")
                .property("mmap.enabled", "true").build());
        client.dropIndexProperties(DropIndexPropertiesReq.builder().collectionName(BIRDS).indexName("dense")
                .propertyKeys(List.of("mmap.enabled")).build());
        refused("collection not loaded", () ->
                client.query(QueryReq.builder().collectionName(BIRDS).filter("id > 0").build()));
        for (String name : List.of(BIRDS, PLAIN, TEXTS)) {
            client.dropCollection(DropCollectionReq.builder().collectionName(name).build());
            same("has", client.hasCollection(HasCollectionReq.builder().collectionName(name).build()), false);
        }
    }
}
