"""What is used of kafka-python, imported without the deprecation warnings that its own code earns when it is loaded."""

import warnings

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
    from kafka.partitioner import Partitioner, murmur2

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
    "murmur2",
]
