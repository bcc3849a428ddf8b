"""Records that a consumer of a topic receives."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, cast

from attrs import frozen
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message


@frozen
class Consumed:
    """One record as Kafka hands it out.

    :ivar timestamp_ms: CreateTime, epoch milliseconds.
    """

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


def consume(servers: str, topics: Sequence[str], at_least: int, timeout_s: float = DEADLINE_S) -> list[Consumed]:
    """Read topics from their beginning to their end; blocks meanwhile.

    :param at_least: wait for so many records, but not beyond ``timeout_s``.
    :return: all records there are, a partition's in its order.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "fleetgw-tests",
            "enable.auto.commit": "false",
            "enable.partition.eof": "true",
            "allow.auto.create.topics": "false",
            "fetch.wait.max.ms": "10",
        },
        logger=logging.getLogger("tests.support.kafka"),
    )
    deadline_s = time.monotonic() + timeout_s
    try:
        known = consumer.list_topics(timeout=timeout_s).topics
        partitions = [
            TopicPartition(topic, partition, OFFSET_BEGINNING)
            for topic in topics
            if topic in known and known[topic].error is None
            for partition in known[topic].partitions
        ]
        consumer.assign(partitions)
        return _read(consumer, len(partitions), at_least, deadline_s)
    finally:
        consumer.close()


def _read(consumer: Consumer, partitions: int, at_least: int, deadline_s: float) -> list[Consumed]:
    consumed: list[Consumed] = []
    ended: set[tuple[str | None, int | None]] = set()
    while (len(ended) < partitions or len(consumed) < at_least) and time.monotonic() < deadline_s:
        message = consumer.poll(0.1)
        if message is None:
            continue
        error = message.error()
        place = (message.topic(), message.partition())
        if error is None:
            ended.discard(place)
            consumed.append(_consumed(message))
        elif error.code() == KafkaError._PARTITION_EOF:
            ended.add(place)
    return consumed


def _consumed(message: Message) -> Consumed:
    return Consumed(
        topic=str(message.topic()),
        partition=int(message.partition() or 0),
        key=bytes(message.key() or b""),
        value=bytes(message.value() or b""),
        headers=tuple(cast("list[tuple[str, bytes]]", message.headers() or [])),
        timestamp_ms=message.timestamp()[1],
    )
