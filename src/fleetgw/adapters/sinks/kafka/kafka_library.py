"""The parts of kafka-python that the sink uses, imported without the deprecation warnings that its own code causes."""

import warnings
from threading import Thread
from typing import Any  # kafka-python has no types

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    from kafka import KafkaProducer
    from kafka.codec import has_lz4, has_snappy, has_zstd
    from kafka.errors import (
        BrokerResponseError,
        IllegalStateError,
        KafkaConnectionError,
        KafkaError,
        KafkaTimeoutError,
        MetadataEmptyBrokerList,
        NodeNotReadyError,
        RequestTimedOutError,
        SaslAuthenticationFailedError,
    )
    from kafka.net.compat import KafkaNetClient
    from kafka.partitioner import Partitioner, murmur2


def made_producer(**arguments: object) -> Any:  # as above
    """Make a ``KafkaProducer``; a failed attempt closes its sockets, which the library leaves to the garbage collector.

    :raises KafkaError: among others, when no broker answers.
    """
    clients: list[Any] = []  # as above

    def client(**settings: object) -> Any:  # as above
        clients.append(KafkaNetClient(**settings))
        return clients[-1]

    try:
        return KafkaProducer(**arguments, kafka_client=client)
    except BaseException:
        for each in clients:
            each.close()
        raise


def network_thread(producer: Any) -> int | None:  # as above
    """The identifier of a producer's own thread, which connects and logs why it cannot."""
    sender = getattr(producer, "_sender", None)
    return sender.ident if isinstance(sender, Thread) else None


__all__ = [
    "BrokerResponseError",
    "IllegalStateError",
    "KafkaConnectionError",
    "KafkaError",
    "KafkaProducer",
    "KafkaTimeoutError",
    "MetadataEmptyBrokerList",
    "NodeNotReadyError",
    "Partitioner",
    "RequestTimedOutError",
    "SaslAuthenticationFailedError",
    "has_lz4",
    "has_snappy",
    "has_zstd",
    "made_producer",
    "murmur2",
    "network_thread",
]
