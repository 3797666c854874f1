"""The older interface of Milvus's SDK: connections with names, and objects for collections, partitions and indexes.

A thin layer: every method asks the `MilvusClient` of a connection.

    from redkite import Collection, connections

    connections.connect(uri="http://localhost:19530")     # or uri="./demo.db"
    birds = Collection("birds")
    birds.search([[0.1, 0.2]], "vector", {"params": {"ef": 64}}, limit=3)
"""

from redkite.orm import db, utility
from redkite.orm.collection import Collection
from redkite.orm.connections import Connections, connections
from redkite.orm.index import Index
from redkite.orm.mutation import MutationResult
from redkite.orm.partition import Partition
from redkite.orm.role import Role

__all__ = ["Collection", "Connections", "Index", "MutationResult", "Partition", "Role", "connections", "db", "utility"]
