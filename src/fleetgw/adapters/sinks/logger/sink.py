"""The ``logger`` sink: every record as one log line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.sinks.logger.data import RecordData
from fleetgw.adapters.sinks.logger.settings import Logger
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.domain.ports import RECEIPT, ITakesFurtherTypes

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch


@implementer(ITakesFurtherTypes)
class LoggerSink(LifecycleSink):
    """Writes a log line ``record_payload`` for each record, with ``vin``, ``metadata`` and ``data``, the decoded record.

    A record is delivered once its line is written, or when the log level excludes such lines.
    """

    takes_any_type = True

    def __init__(self, context: SinkContext) -> None:
        """Make the sink.

        :raises ConfigurationError: a setting is wrong.
        """
        super().__init__(context)
        verbose = typed(Logger, context.settings, context.name).verbose
        self._log = context.log
        self._data = RecordData(context.log, verbose=verbose)

    def deliver(self, dispatch: Dispatch) -> None:
        """Write one line per record; the outcomes are known at once."""
        if self._log.info_enabled:
            for record in dispatch.batch:
                self._log.info("record_payload", vin=record.vin, metadata=record.metadata(), data=self._data.of(record))
        self.settle_rest(dispatch, RECEIPT)
