"""The codec between wire bytes and records: FlatBuffers envelope, protobuf payloads."""

from fleetgw.adapters.codec.codec import RecordCodec

__all__ = ["RecordCodec"]
