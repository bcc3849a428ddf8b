"""Why kafka-python does not get through to a broker: it tells its log, and nobody else."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.kafka.kafka_library import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    RequestTimedOutError,
    SaslAuthenticationFailedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self


_FAILED_TLS_HANDSHAKE = "Handshake failed: [SSL"


class ConnectionFailures(logging.Handler):
    """Hears of the failures of one client, while it is made and afterwards.

    :param refused: called on the client's network thread, with the reason, when a broker refuses the client that was made:
        over its credentials, or over TLS.
    :ivar reason: the failure that says most, of all that were logged within ``with``; empty when there was none.
    """

    def __init__(self, refused: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.reason = ""
        self._refused = refused
        self._making_thread: int | None = None
        self._network_thread: int | None = None

    def __enter__(self) -> Self:
        self._making_thread = threading.get_ident()
        logging.getLogger("kafka.net").addHandler(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._making_thread = None
        if error is not None:
            self.unfollow()

    def follow(self, network_thread: int | None) -> None:
        """The client was made: hear what its network thread logs."""
        self._network_thread = network_thread

    def unfollow(self) -> None:
        """The client has gone."""
        self._network_thread = None
        logging.getLogger("kafka.net").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        if not isinstance(record.args, tuple):
            return
        for error in record.args:
            if record.thread == self._making_thread:
                if isinstance(error, KafkaError) and (_says_why(error) or not self.reason):
                    self.reason = str(error)
            elif record.thread == self._network_thread and _is_refusal(error):
                self._refused(str(error))


def _says_why(error: Exception) -> bool:
    """A broker that has refused us may only hang up the next time; and that time is up is the end of every attempt."""
    return not isinstance(error, (KafkaTimeoutError, RequestTimedOutError)) and "disconnected" not in str(error)


def _is_refusal(error: object) -> bool:
    """A handshake that fails otherwise may be a broker that goes down."""
    return isinstance(error, SaslAuthenticationFailedError) or (
        isinstance(error, KafkaConnectionError) and _FAILED_TLS_HANDSHAKE in str(error)
    )
