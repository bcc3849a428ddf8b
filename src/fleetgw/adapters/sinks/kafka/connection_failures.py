"""Why kafka-python does not get through to a broker: it tells its log, and nobody else."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.kafka.kafka_library import KafkaError, KafkaTimeoutError, RequestTimedOutError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class ConnectionFailures(logging.Handler):
    """Keeps the failure that says most, of all that were logged within ``with``, by the thread that is there.

    :ivar reason: for people; empty when there was none.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reason = ""
        self._thread: int | None = None

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        logging.getLogger("kafka.net").addHandler(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        logging.getLogger("kafka.net").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        if record.thread != self._thread or not isinstance(record.args, tuple):
            return
        for error in record.args:
            if isinstance(error, KafkaError) and (_says_why(error) or not self.reason):
                self.reason = str(error)


def _says_why(error: Exception) -> bool:
    """A broker that has refused us may only hang up the next time; and that time is up is the end of every attempt."""
    return not isinstance(error, (KafkaTimeoutError, RequestTimedOutError)) and "disconnected" not in str(error)
