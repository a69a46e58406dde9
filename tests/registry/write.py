"""Registers schemas and writes records by them, as Confluent's own serializers do, and tells what its deserializers read of them.

write.py REGISTRY BROKERS TOPIC FORMAT VERSIONS [VERSION]...
    Registers the first VERSIONS of the schemas of a FORMAT (avro, protobuf, json), in their order; writes ten records by each VERSION.
    Prints, as JSON, a list of what each record holds: id, microseconds, card, amount, kind, note, fee, how many tags.
"""

import decimal
import json
import sys

from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

URL, BROKERS, TOPIC, FORMAT = sys.argv[1:5]
VERSIONS, WRITTEN = int(sys.argv[5]), [int(version) for version in sys.argv[6:]]
START_MS = 1_767_571_200_000
KINDS = ["PAYMENT", "REFUND"]
REGISTRY = SchemaRegistryClient({"url": URL})
SUBJECT = f"{TOPIC}-value"


def fact(version, n):
    """What a record says, in no format."""
    return {
        "id": 100 * version + n,
        "ms": START_MS + 60_000 * version + n,
        "card": f"c{n % 3}",
        "cents": 1234 * n - 5000,
        "kind": KINDS[n % 2],
        "note": None if n % 4 == 1 else f"Nr. {n} – ü",
        "fee": n / 8 if version > 1 else None,
        "tags": [f"t{at}" for at in range(n % 3)] if version < 3 else [],
    }


class Avro:
    """A reference to another subject's schema, a type that gets wider, fields that come, move and go."""

    user = {"type": "record", "name": "User", "namespace": "shop", "fields": [{"name": "card", "type": "string"}]}

    def __init__(self):
        registered = REGISTRY.register_schema(f"{TOPIC}-user", Schema(json.dumps(self.user), "AVRO"))
        assert registered > 0
        self.references = [SchemaReference("shop.User", f"{TOPIC}-user", 1)]

    def schema(self, version):
        fields = [
            {"name": "id", "type": "int" if version == 1 else "long"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "user", "type": "shop.User"},
            {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": KINDS}},
        ]
        note = {"name": "note", "type": ["null", "string"], "default": None}
        fields = [note, *fields] if version > 1 else [*fields, note]
        if version > 1:
            fields.append({"name": "fee", "type": "double", "default": 0.5})
        if version < 3:
            fields.append({"name": "tags", "type": {"type": "array", "items": "string"}, "default": []})
        else:
            fields.insert(2, {"name": "extra", "type": {"type": "map", "values": "long"}})
        record = {"type": "record", "name": "Payment", "namespace": "shop", "fields": fields}
        return Schema(json.dumps(record), "AVRO", self.references)

    def value(self, version, of):
        value = {"id": of["id"], "at": of["ms"], "user": {"card": of["card"]}, "amount": decimal.Decimal(of["cents"]).scaleb(-2), "kind": of["kind"], "note": of["note"]}
        more = {"fee": of["fee"]} if version > 1 else {}
        return value | more | ({"tags": of["tags"]} if version < 3 else {"extra": {"a": 1}})

    def serializer(self, version):
        return AvroSerializer(REGISTRY, self.schema(version), conf={"auto.register.schemas": False})

    def reader(self):
        return AvroDeserializer(REGISTRY, self.schema(2))

    def told(self, value):
        ms = round(value["at"].timestamp() * 1000)
        return [value["id"], ms * 1000, value["user"]["card"], str(value["amount"]), value["kind"], value["note"], value["fee"], len(value["tags"])]


class Protobuf:
    """A message that is not the first of its file, and another file beside it."""

    def __init__(self):
        self.messages = {version: self.message(version) for version in range(1, VERSIONS + 1)}

    def message(self, version):
        types = descriptor_pb2.FieldDescriptorProto
        common = descriptor_pb2.FileDescriptorProto(name="common.proto", package="shop", syntax="proto3")
        common.message_type.add(name="User").field.add(name="card", number=1, type=types.TYPE_STRING, label=types.LABEL_OPTIONAL)
        kind = common.enum_type.add(name="Kind")
        for number, name in enumerate(KINDS):
            kind.value.add(name=name, number=number)
        file = descriptor_pb2.FileDescriptorProto(name="payment.proto", package="shop", syntax="proto3")
        file.dependency.extend(["common.proto", "google/protobuf/timestamp.proto"])
        file.message_type.add(name="Other").field.add(name="id", number=1, type=types.TYPE_INT64, label=types.LABEL_OPTIONAL)
        message = file.message_type.add(name="Payment")
        fields = [("id", 1, types.TYPE_INT64), ("at", 2, ".google.protobuf.Timestamp"), ("user", 3, ".shop.User"), ("cents", 4, types.TYPE_SINT64), ("kind", 5, ".shop.Kind")]
        for name, number, of in fields:
            field = message.field.add(name=name, number=number, label=types.LABEL_OPTIONAL)
            if isinstance(of, str):
                field.type = types.TYPE_ENUM if name == "kind" else types.TYPE_MESSAGE
                field.type_name = of
            else:
                field.type = of
        for at, (name, number, of) in enumerate([("note", 6, types.TYPE_STRING), *([("fee", 8, types.TYPE_DOUBLE)] if version > 1 else [])]):
            message.oneof_decl.add(name=f"_{name}")
            message.field.add(name=name, number=number, type=of, label=types.LABEL_OPTIONAL, proto3_optional=True, oneof_index=at)
        message.field.add(name="tags", number=7, type=types.TYPE_STRING, label=types.LABEL_REPEATED)
        if version > 2:
            message.field.add(name="extra", number=20, type=types.TYPE_STRING, label=types.LABEL_REPEATED)
        pool = descriptor_pool.DescriptorPool()
        for one in [descriptor_pb2.FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb), common, file]:
            pool.Add(one)
        return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Payment"))

    def schema(self, version):
        return None  # the serializer registers what a message is of

    def value(self, version, of):
        value = self.messages[version](id=of["id"], user={"card": of["card"]}, cents=of["cents"], kind=of["kind"], note=of["note"], tags=of["tags"])
        value.at.FromMilliseconds(of["ms"])
        if version > 1:
            value.fee = of["fee"]
        if version > 2:
            value.extra.extend(["x", "y"])
        return value

    def serializer(self, version):
        return ProtobufSerializer(self.messages[version], REGISTRY, {"use.deprecated.format": False})

    def reader(self):
        return ProtobufDeserializer(self.messages[2], {"use.deprecated.format": False}, REGISTRY)

    def told(self, value):
        had = [getattr(value, name) if value.HasField(name) else None for name in ["note", "fee"]]
        return [value.id, value.at.ToMicroseconds(), value.user.card, value.cents, KINDS[value.kind], *had, len(value.tags)]


class Json:
    def schema(self, version):
        properties = {"id": {"type": "integer"}, "fee": {"type": ["number", "null"]}, "version": {"const": version}}
        return Schema(json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "title": "Payment", "type": "object", "properties": properties}), "JSON")

    def value(self, version, of):
        named = {"id": of["id"], "at": of["ms"], "user": {"card": of["card"]}, "cents": of["cents"], "kind": of["kind"], "note": of["note"], "tags": of["tags"]}
        return named | ({"fee": of["fee"]} if version > 1 else {})

    def serializer(self, version):
        return JSONSerializer(self.schema(version), REGISTRY, lambda value, _: value, {"auto.register.schemas": False})

    def reader(self):
        return JSONDeserializer(self.schema(2), lambda value, _: value)

    def told(self, value):
        return [value["id"], value["at"] * 1000, value["user"]["card"], value["cents"], value["kind"], value["note"], value.get("fee"), len(value["tags"])]


def main():
    format = {"avro": Avro, "protobuf": Protobuf, "json": Json}[FORMAT]()
    about = SerializationContext(TOPIC, MessageField.VALUE)
    for version in range(1, VERSIONS + 1):
        schema = format.schema(version)
        if schema:
            REGISTRY.register_schema(SUBJECT, schema)
        else:
            format.serializer(version)(format.value(version, fact(version, 0)), about)
    producer = Producer({"bootstrap.servers": BROKERS})
    reader, told = format.reader(), []
    for version in WRITTEN:
        serializer = format.serializer(version)
        for n in range(10):
            value = serializer(format.value(version, fact(version, n)), about)
            read = format.told(reader(value, about))
            told.append(read)
            producer.produce(TOPIC, value, partition=0, timestamp=fact(version, n)["ms"])
    producer.flush()
    print(json.dumps(told))


main()
