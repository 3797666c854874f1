"""Callers: whatever can be asked of an engine, by one vocabulary, that of `MilvusClient`."""

import importlib
import json

from plain import plain_text


class NotOffered(Exception):
    """This caller has no such method, argument, type or class."""


def open_caller(way, uri):
    """The caller of a way: `sdk`, `redkite`, `rest`, `raw` (messages of gRPC) or `http` (requests as they are)."""
    if way in ("sdk", "redkite"):
        return SdkCaller(way, uri)
    if way == "rest":
        return importlib.import_module("rest_caller").RestCaller(uri)
    if way == "raw":
        return RawCaller(uri)
    if way == "http":
        return importlib.import_module("rest_caller").HttpCaller(uri)
    raise SystemExit(f"{way} is no way: sdk, redkite, rest, raw or http")


class Kit:
    """What a program imports beside the client. What a version does not have is NotOffered."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        try:
            return getattr(self._module, name)
        except AttributeError:
            raise NotOffered(f"{name} is not there") from None

    def kind(self, name):
        """A member of DataType."""
        found = getattr(self.DataType, name, None)
        if found is None:
            raise NotOffered(f"DataType.{name} is not there")
        return found


class SdkCaller:
    """`MilvusClient` of pymilvus or of Redkite, and beside it their older classes."""

    def __init__(self, way, uri):
        self.way = way
        self.uri = uri
        self.module = importlib.import_module("pymilvus" if way == "sdk" else "redkite")
        self.kit = Kit(self.module)
        self.client = self.module.MilvusClient(uri)

    def invoke(self, method, args, kwargs):
        if method == "create":
            return self._create(*args, **kwargs)
        if method == "create_index" and len(args) > 1 and isinstance(args[1], dict):
            return self.client.create_index(args[0], self._indexes(args[1]), **kwargs)
        work = getattr(self.client, method, None)
        if work is None:
            raise NotOffered(f"no method {method}")
        try:
            return work(*args, **kwargs)
        except TypeError as error:
            if "unexpected keyword" in str(error) or "required positional" in str(error):
                raise NotOffered(str(error)) from None
            raise

    def _create(self, name, fields, index, functions, load, dynamic=False, schema=None, **options):
        made = self.client.create_schema(enable_dynamic_field=dynamic, **(schema or {}))
        for field, kind, details in fields:
            details = dict(details)
            if "element_type" in details:
                details["element_type"] = self.kit.kind(details["element_type"])
            made.add_field(field, self.kit.kind(kind), **details)
        for function in functions:
            made.add_function(self._function(function))
        if index and load:
            options["index_params"] = self._indexes(index)
        self.client.create_collection(name, schema=made, **options)
        if index and not load:
            self.client.create_index(name, self._indexes(index))

    def _function(self, given):
        details = dict(given)
        kind = getattr(self.kit.FunctionType, details.pop("type"), None)
        if kind is None:
            raise NotOffered("no function of this type")
        return self.kit.Function(function_type=kind, **details)

    def _indexes(self, wanted):
        made = self.client.prepare_index_params()
        for field, details in wanted.items():
            made.add_index(field_name=field, **details)
        return made

    def error(self, error):
        code = getattr(error, "code", None)
        if callable(code):  # gRPC's own
            return {"class": "RpcError", "code": code().name, "text": error.details()}
        text = getattr(error, "message", None) or str(error)
        told = {"code": None if code is None else int(code), "text": tidy(text)}
        return dict(told, **{"class": type(error).__name__}) if self.way == "sdk" else told

    def close(self):
        self.client.close()


class RawCaller:
    """One RPC at a time, by the messages of pymilvus, written as JSON."""

    way = "raw"

    def __init__(self, uri):
        self.uri = uri
        self.grpc = importlib.import_module("grpc")
        self.format = importlib.import_module("google.protobuf.json_format")
        messages = importlib.import_module("pymilvus.grpc_gen.milvus_pb2")
        self.service = messages.DESCRIPTOR.services_by_name["MilvusService"]
        self.factory = importlib.import_module("google.protobuf.message_factory")
        self.kit = Kit(importlib.import_module("pymilvus"))
        self.channel = self.grpc.insecure_channel(uri.split("://", 1)[1])

    def invoke(self, method, args, kwargs):
        """`args` has the message as a dict, or none; `kwargs` is the call's metadata."""
        rpc = self.service.methods_by_name.get(method)
        if rpc is None:
            return None
        request = self.factory.GetMessageClass(rpc.input_type)()
        body = dict(args[0]) if args and isinstance(args[0], dict) else {}
        for name in [key for key, value in body.items() if isinstance(value, bytes)]:
            setattr(request, name, body.pop(name))
        self.format.ParseDict(body, request)
        answer = self.channel.unary_unary(
            "/milvus.proto.milvus.MilvusService/" + method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self.factory.GetMessageClass(rpc.output_type).FromString,
        )(request, metadata=tuple(kwargs.items()), timeout=30)
        return self.format.MessageToDict(answer, preserving_proto_field_name=True)

    def error(self, error):
        return {"class": "RpcError", "code": error.code().name, "text": tidy(error.details())}

    def close(self):
        self.channel.close()


def tidy(text):
    """The first line of what an error says, without the traces that some servers append."""
    return plain_text(str(text).split("\n")[0][:400])


def as_json(value):
    """What a request of HTTP carries for `value`."""
    return json.dumps(value, default=lambda item: item.tolist() if hasattr(item, "tolist") else str(item))
