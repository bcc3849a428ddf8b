"""librdkafka's partitioners for kafka-python, so that both clients send a key to the same partition."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from zlib import crc32

from fleetgw.adapters.sinks.kafka.kafka_library import Partitioner, murmur2

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka.cluster import ClusterMetadata


def _fnv1a(key: bytes) -> int:
    """FNV-1a, 32 bits, as in the Sarama library: the sign is dropped."""
    hashed = 0x811C9DC5
    for byte in key:
        hashed = ((hashed ^ byte) * 0x01000193) & 0xFFFFFFFF
    return abs(hashed - (hashed >> 31 << 32))


def _murmur2(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def _anywhere(_key: bytes) -> int:
    return random.getrandbits(31)


def _or_anywhere(hashed: Callable[[bytes], int]) -> Callable[[bytes], int]:
    return lambda key: hashed(key) if key else _anywhere(key)


HASHES: dict[str, Callable[[bytes], int]] = {
    "random": _anywhere,
    "consistent": crc32,
    "consistent_random": _or_anywhere(crc32),
    "murmur2": _murmur2,
    "murmur2_random": _murmur2,  # random for absent keys only, and every record has one
    "fnv1a": _fnv1a,
    "fnv1a_random": _fnv1a,
}
"""librdkafka's ``partitioner`` -> the hash of a key; the partition is the hash modulo the number of partitions."""


class HashPartitioner(Partitioner):  # type: ignore[misc] # kafka-python has no types
    """Chooses a partition by one of ``HASHES``.

    :ivar hash_of: the hash of a key.
    """

    def __init__(self, hash_of: Callable[[bytes], int]) -> None:
        self.hash_of = hash_of

    def partition(
        self,
        topic: str,
        _key: object,
        serialized_key: bytes,
        _value: object,
        _serialized_value: bytes,
        cluster: ClusterMetadata,
    ) -> int:
        """Choose the partition of one record; kafka-python passes the arguments by position."""
        return self.hash_of(serialized_key) % len(cluster.partitions_for_topic(topic))
