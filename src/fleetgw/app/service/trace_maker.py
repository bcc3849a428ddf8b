"""Makes the traces of a gateway, as its configuration says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fleetgw.adapters.process.serial_worker import SerialWorker
from fleetgw.adapters.traces.files import FilesInFolder, FilesInMemory
from fleetgw.adapters.traces.lines import TraceStore
from fleetgw.app.operations.traces import Traces

if TYPE_CHECKING:
    from fleetgw.adapters.traces.lines import ITraceReactor
    from fleetgw.app.config.sections import Config
    from fleetgw.app.pipeline.outcome_watch import OutcomeWatch
    from fleetgw.domain.ports import ILog


def make_traces(config: Config, watch: OutcomeWatch, reactor: ITraceReactor, log: ILog) -> Traces:
    """Make the traces, which survive a restart where there is a folder for them."""
    folder = config.operations.folder
    if folder is None:
        store = TraceStore(FilesInMemory(), "", None, reactor, log)
    else:
        files = FilesInFolder(folder / "traces")
        store = TraceStore(files, str(folder), lambda: SerialWorker("fleetgw traces"), reactor, log)
    return Traces(store, watch, reactor, time.time_ns)
