"""Dead letters: records of one sink that no retry can deliver. They are counted, and go to the log."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from fleetgw.domain.line_limit import cut
from fleetgw.domain.metrics import DEAD_LETTER_TOTAL
from fleetgw.domain.vehicle_log import VehicleLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.domain.ports import ILog, IMetrics
    from fleetgw.domain.records import Record


class DeadLetters:
    """Takes the dead letters of one sink.

    :param dispatcher: the sink's name.
    :param monotonic: seconds, never going back.
    """

    def __init__(self, dispatcher: str, metrics: IMetrics, log: ILog, monotonic: Callable[[], float]) -> None:
        self._dispatcher = dispatcher
        self._log = log
        self._vehicle_log = VehicleLog(log, monotonic)
        self._total = metrics.counter(DEAD_LETTER_TOTAL, dispatcher=dispatcher)

    def add(self, record: Record, reason: str, *, vehicle_resends: bool) -> None:
        """Count and log a record.

        :param vehicle_resends: the record is never acknowledged, so its vehicle sends it again. Otherwise it may be
            acknowledged, now or later, and the log line, with the whole payload, is the last copy.
        """
        self._total.add(1)
        fields = {"dispatcher": self._dispatcher, "error": reason, "vehicle_resends": vehicle_resends}
        if not vehicle_resends:
            payload = base64.b64encode(record.payload).decode()
            self._log.error("dead_letter", **fields, metadata=record.metadata(), payload_base64=payload)
            return
        self._vehicle_log.error(
            "dead_letter",
            record.vin,
            lambda: (
                fields
                | {
                    "metadata": {key: cut(value) for key, value in record.metadata().items()},
                    "payload_bytes": len(record.payload),
                }
            ),
        )
