"""The JSON bodies of REST v2, one struct each. Their names appear in error texts, and are Milvus's."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of all bodies. Every key has a zero value; `required` ones must be given and not be empty."""

    required: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = ""
    """The name in error texts, where it is not the class's."""
    db_name: str = ""


class EmptyReq(Body, frozen=True):
    pass


# -- databases ----------------------------------------------------------------------------------
class DatabaseReqRequiredName(Body, frozen=True):
    required = ("db_name",)


class DatabaseReqWithProperties(Body, frozen=True):
    required = ("db_name",)
    properties: dict[str, Any] = {}


class DropDatabasePropertiesReq(Body, frozen=True):
    required = ("db_name", "property_keys")
    property_keys: tuple[str, ...] = ()


# -- collections --------------------------------------------------------------------------------
class CollectionNameReq(Body, frozen=True):
    required: ClassVar[tuple[str, ...]] = ("collection_name",)
    collection_name: str = ""


class LoadStateReq(CollectionNameReq, frozen=True):
    title = "CollectionNameReq"
    partition_names: tuple[str, ...] = ()


class RenameCollectionReq(Body, frozen=True):
    required = ("collection_name", "new_collection_name")
    collection_name: str = ""
    new_collection_name: str = ""
    new_db_name: str = ""


class CompactReq(CollectionNameReq, frozen=True):
    is_clustering: bool = False


class GetCompactionStateReq(Body, frozen=True):
    job_id: int = msgspec.field(default=0, name="jobID")


class CollectionReqWithProperties(Body, frozen=True):
    required = ("collection_name", "properties")
    collection_name: str = ""
    properties: dict[str, Any] = {}


class DropCollectionPropertiesReq(Body, frozen=True):
    required = ("collection_name", "property_keys")
    collection_name: str = ""
    property_keys: tuple[str, ...] = ()


class CollectionFieldReqWithParams(Body, frozen=True):
    required = ("collection_name", "field_name", "field_params")
    collection_name: str = ""
    field_name: str = ""
    field_params: dict[str, Any] = {}


class DropCollectionFieldReq(Body, frozen=True):
    required = ("collection_name",)
    collection_name: str = ""
    field_name: str = ""
    field_id: int = 0


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of the objects inside bodies."""

    required: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = ""


class FieldBody(Part, frozen=True):
    required = ("field_name", "data_type")
    title = "FieldSchema"
    field_name: str = ""
    data_type: str = ""
    element_data_type: str = ""
    is_primary: bool = False
    is_partition_key: bool = False
    is_clustering_key: bool = False
    nullable: bool = False
    auto_id: bool = msgspec.field(default=False, name="autoID")
    default_value: Any = None
    element_type_params: dict[str, Any] = {}
    description: str = ""
    external_field: str = ""


class StructFieldBody(Part, frozen=True):
    required = ("field_name", "fields")
    title = "StructArrayFieldSchema"
    field_name: str = ""
    fields: tuple[FieldBody, ...] = ()
    nullable: bool = False
    element_type_params: dict[str, Any] = {}
    description: str = ""


class CollectionStructFieldReq(Body, frozen=True):
    required = ("collection_name",)
    collection_name: str = ""
    schema: StructFieldBody = StructFieldBody()


class CollectionFieldReqWithSchema(Body, frozen=True):
    required = ("collection_name",)
    collection_name: str = ""
    schema: FieldBody = FieldBody()


class FunctionBody(Part, frozen=True):
    title = "FunctionSchema"
    required = ("name", "type", "input_field_names", "output_field_names")
    name: str = ""
    type: str = ""
    input_field_names: tuple[str, ...] = ()
    output_field_names: tuple[str, ...] = ()
    params: dict[str, Any] = {}
    description: str = ""


class SchemaBody(Part, frozen=True):
    fields: tuple[FieldBody, ...] = ()
    struct_fields: tuple[StructFieldBody, ...] = ()
    functions: tuple[FunctionBody, ...] = ()
    auto_id: bool = msgspec.field(default=False, name="autoID")
    auto_id_other: bool = msgspec.field(default=False, name="autoId")
    enable_dynamic_field: bool = False
    external_source: str = ""
    external_spec: str = ""
    description: str = ""


class IndexParam(Part, frozen=True):
    required = ("field_name",)
    field_name: str = ""
    index_name: str = ""
    metric_type: str = ""
    index_type: str = ""
    params: dict[str, Any] = {}


class CollectionReq(Body, frozen=True):
    required = ("collection_name",)
    collection_name: str = ""
    dimension: int = 0
    id_type: str = "Int64"
    auto_id: bool = msgspec.field(default=False, name="autoID")
    auto_id_other: bool = msgspec.field(default=False, name="autoId")
    metric_type: str = ""
    vector_field_type: str = "FloatVector"
    consistency_level: str = ""
    primary_field_name: str = "id"
    vector_field_name: str = "vector"
    schema: SchemaBody = SchemaBody()
    index_params: tuple[IndexParam, ...] = ()
    params: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    description: str = ""


# -- entities -----------------------------------------------------------------------------------
class CollectionDataReq(Body, frozen=True):
    required = ("collection_name", "data")
    collection_name: str = ""
    partition_name: str = ""
    data: list[dict[str, Any]] | dict[str, Any] = []


class UpsertReq(CollectionDataReq, frozen=True):
    title = "CollectionDataReq"
    partial_update: bool = False
    field_ops: tuple[dict[str, Any], ...] = ()
    if_version: tuple[int, ...] = ()
    where: str = ""
    where_params: dict[str, Any] = {}


class CollectionFilterReq(Body, frozen=True):
    required = ("collection_name", "filter")
    collection_name: str = ""
    partition_name: str = ""
    filter: str = ""
    expr_params: dict[str, Any] = {}


class CollectionIDReq(Body, frozen=True):
    required = ("collection_name", "id")
    collection_name: str = ""
    partition_name: str = ""
    partition_names: tuple[str, ...] = ()
    id: Any = None
    output_fields: tuple[str, ...] = ("*",)
    consistency_level: str = ""
    as_of: int = 0


class QueryReqV2(Body, frozen=True):
    required = ("collection_name",)
    collection_name: str = ""
    partition_names: tuple[str, ...] = ()
    filter: str = ""
    output_fields: tuple[str, ...] = ("*",)
    limit: int = 100
    offset: int = 0
    order_by_fields: tuple[str, ...] = ()
    group_by_fields: tuple[str, ...] = ()
    expr_params: dict[str, Any] = {}
    consistency_level: str = ""
    as_of: int = 0
    timezone: str = ""
    time_fields: str = ""
    explain: bool = False
    analyze: bool = False


class RerankFunction(Part, frozen=True):
    title = "FunctionSchema"
    required = ("name", "type")
    name: str = ""
    type: str = ""
    input_field_names: tuple[str, ...] = ()
    output_field_names: tuple[str, ...] = ()
    params: dict[str, Any] = {}
    description: str = ""


class FunctionScoreBody(Part, frozen=True):
    title = "FunctionScore"
    functions: tuple[RerankFunction, ...] = ()
    params: dict[str, Any] = {}


class Rerank(Part, frozen=True):
    title = "Rand"
    strategy: str = ""
    params: dict[str, Any] = {}


class SubSearchReq(Part, frozen=True):
    required = ("data",)
    data: list[Any] = []
    anns_field: str = ""
    filter: str = ""
    grouping_field: str = ""
    metric_type: str = ""
    limit: int = 0
    offset: int = 0
    params: dict[str, Any] = {}
    search_params: dict[str, Any] = {}
    ignore_growing: bool = False
    expr_params: dict[str, Any] = {}


class HybridSearchReq(Body, frozen=True):
    required = ("collection_name", "search")
    collection_name: str = ""
    search: tuple[SubSearchReq, ...] = ()
    rerank: Rerank = Rerank()
    function_score: FunctionScoreBody | None = None
    function_chains: tuple[Any, ...] = ()
    explain: bool = False
    analyze: bool = False
    limit: int = 100
    offset: int = 0
    grouping_field: str = ""
    group_size: int = 0
    strict_group_size: bool = False
    rank_group_scorer: str = ""
    highlighter: dict[str, Any] = {}
    output_fields: tuple[str, ...] = ()
    partition_names: tuple[str, ...] = ()
    consistency_level: str = ""
    as_of: int = 0
    timezone: str = ""
    time_fields: str = ""


class SearchReqV2(Body, frozen=True):
    required = ("collection_name",)
    collection_name: str = ""
    data: list[Any] = []
    ids: Any = None
    anns_field: str = ""
    partition_names: tuple[str, ...] = ()
    filter: str = ""
    limit: int = 100
    offset: int = 0
    output_fields: tuple[str, ...] = ()
    search_params: dict[str, Any] = {}
    order_by_fields: tuple[str, ...] = ()
    grouping_field: str = ""
    group_size: int = 0
    strict_group_size: bool = False
    consistency_level: str = ""
    expr_params: dict[str, Any] = {}
    function_score: FunctionScoreBody | None = None
    function_chains: tuple[Any, ...] = ()
    search_aggregation: dict[str, Any] = {}
    highlighter: dict[str, Any] = {}
    as_of: int = 0
    timezone: str = ""
    time_fields: str = ""


# -- partitions ---------------------------------------------------------------------------------
class PartitionReq(Body, frozen=True):
    required = ("collection_name", "partition_name")
    collection_name: str = ""
    partition_name: str = ""


class PartitionsReq(Body, frozen=True):
    required = ("collection_name", "partition_names")
    collection_name: str = ""
    partition_names: tuple[str, ...] = ()


# -- indexes ------------------------------------------------------------------------------------
class IndexReq(Body, frozen=True):
    required = ("collection_name", "index_name")
    collection_name: str = ""
    index_name: str = ""


class DescribeIndexReq(IndexReq, frozen=True):
    title = "IndexReq"
    timestamp: int = 0


class IndexReqWithProperties(Body, frozen=True):
    required = ("collection_name", "index_name", "properties")
    collection_name: str = ""
    index_name: str = ""
    properties: dict[str, Any] = {}


class IndexReqWithKeys(Body, frozen=True):
    required = ("collection_name", "index_name", "property_keys")
    collection_name: str = ""
    index_name: str = ""
    property_keys: tuple[str, ...] = ()


class IndexParamReq(Body, frozen=True):
    required = ("collection_name", "index_params")
    collection_name: str = ""
    index_params: tuple[IndexParam, ...] = ()


class FunctionFieldReq(Body, frozen=True):
    required = ("collection_name", "function", "output_field", "index_params")
    collection_name: str = ""
    function: FunctionBody = FunctionBody()
    output_field: FieldBody = FieldBody()
    index_params: IndexParam = IndexParam()


class AlterFunctionReq(Body, frozen=True):
    required = ("collection_name", "function_name", "function")
    collection_name: str = ""
    function_name: str = ""
    function: FunctionBody = FunctionBody()


class DropFunctionFieldReq(Body, frozen=True):
    required = ("collection_name", "function_name")
    collection_name: str = ""
    function_name: str = ""


# -- aliases ------------------------------------------------------------------------------------
class OptionalCollectionNameReq(Body, frozen=True):
    collection_name: str = ""


class AliasReq(Body, frozen=True):
    required = ("alias_name",)
    alias_name: str = ""


class AliasCollectionReq(Body, frozen=True):
    required = ("collection_name", "alias_name")
    collection_name: str = ""
    alias_name: str = ""
