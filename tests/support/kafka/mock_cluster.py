"""librdkafka's mock cluster, with the handles that its Python binding does not give: brokers down, errors on demand."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka

PRODUCE = 0
INIT_PRODUCER_ID = 22
"""Kafka's numbers of request kinds (https://kafka.apache.org/protocol, "API Keys")."""

_BROKER_ID = 1
_PRODUCER = 0
_BUNDLED = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"


def _library() -> ctypes.CDLL:
    """The librdkafka that confluent-kafka's wheel brings along; it is loaded already."""
    library = ctypes.CDLL(str(next(_BUNDLED.glob("librdkafka*.so*"))))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class MockCluster:
    """A cluster of one broker within this process, on a free port of the loopback interface.

    :ivar servers: for ``bootstrap.servers``.
    """

    def __init__(self) -> None:
        self._library = _library()
        error = ctypes.create_string_buffer(512)
        configuration = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        self._library.rd_kafka_conf_set(configuration, b"log_level", b"0", error, ctypes.c_size_t(len(error)))
        made = self._library.rd_kafka_new(_PRODUCER, configuration, error, ctypes.c_size_t(len(error)))
        if made is None:
            raise RuntimeError(f"no mock cluster: {error.value.decode()}")
        self._client = ctypes.c_void_p(made)
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, 1))
        self.servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def close(self) -> None:
        """End the broker; its records are lost."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def create_topic(self, topic: str, partitions: int) -> None:
        """Make a topic; one that is not made appears with four partitions when it is first asked for."""
        self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)

    def set_down(self) -> None:
        """Close every connection and take no more."""
        self._library.rd_kafka_mock_broker_set_down(self._cluster, _BROKER_ID)

    def set_up(self) -> None:
        """End ``set_down``."""
        self._library.rd_kafka_mock_broker_set_up(self._cluster, _BROKER_ID)

    def answer_after(self, delay_ms: int) -> None:
        """Be so far away."""
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, _BROKER_ID, delay_ms)

    def fail_requests(self, request: int, *codes: int) -> None:
        """Answer the next requests of one kind with these error codes, one each; -195 closes the connection instead.

        :param request: ``PRODUCE`` or another of Kafka's numbers of request kinds.
        """
        numbers = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(codes)), numbers
        )
