"""Wire bytes <-> records: FlatBuffers envelope, protobuf payloads."""
