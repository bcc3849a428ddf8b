"""Public API for sinks of other packages, which import no other module of ``fleetgw`` besides ``fleetgw.testing``.

Every name in ``__all__`` is stable: releases with the same major version neither remove a name nor change its meaning,
arguments or results. They may add names. Everything else in ``fleetgw``, except ``fleetgw.testing``, may change at any time.
docs/writing-a-sink.md explains the names in the order in which a sink needs them.
"""

from msgspec import Meta

from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.secrets.secret import Secret, SecretFile
from fleetgw.adapters.settings.checking import SettingsCheck
from fleetgw.adapters.settings.client_tls import ClientTls
from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.settings.lane import LaneOverride
from fleetgw.adapters.settings.values import Natural, Pause, Port, Positive, Seconds, Settings
from fleetgw.adapters.sinks.sink_type import (
    Confirmation,
    Confirms,
    ConfirmsHandOver,
    ConfirmsLess,
    ConfirmsNothing,
    Exclusive,
    SinkType,
    imported,
)
from fleetgw.adapters.sinks.support.blocking_sink import BlockingSink
from fleetgw.adapters.sinks.support.context import ISinkReactor, SinkContext
from fleetgw.adapters.sinks.support.destination import Destination
from fleetgw.adapters.sinks.support.dispatch import Dispatch
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.domain.errors import ConfigurationError, DeliveryError, NotConnected, Problem, Rejected, Retryable, Unheard
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import (
    RECEIPT,
    Finding,
    ICounter,
    IDiagnosable,
    IDispatcher,
    IGauge,
    IHistogram,
    IHoldsCopies,
    ILog,
    IMetrics,
    IPromptDispatcher,
    IReloadable,
    ITakesFurtherTypes,
    NotReady,
    Outcome,
    Readiness,
    Ready,
    Receipt,
    Verdict,
)
from fleetgw.domain.records import Record

__all__ = [
    "RECEIPT",
    "BlockingSink",
    "ClientTls",
    "ConfigurationError",
    "Confirmation",
    "Confirms",
    "ConfirmsHandOver",
    "ConfirmsLess",
    "ConfirmsNothing",
    "DeliveryError",
    "Destination",
    "Dispatch",
    "Exclusive",
    "Finding",
    "ICounter",
    "IDiagnosable",
    "IDispatcher",
    "IGauge",
    "IHistogram",
    "IHoldsCopies",
    "ILog",
    "IMetrics",
    "IPromptDispatcher",
    "IReloadable",
    "ISinkReactor",
    "ITakesFurtherTypes",
    "Kind",
    "LaneOverride",
    "LifecycleSink",
    "Meta",
    "Metric",
    "Natural",
    "NotConnected",
    "NotReady",
    "Outcome",
    "Pause",
    "Port",
    "Positive",
    "Problem",
    "PublishMetrics",
    "Readiness",
    "Ready",
    "Receipt",
    "Record",
    "Rejected",
    "Retryable",
    "Seconds",
    "Secret",
    "SecretFile",
    "Settings",
    "SettingsCheck",
    "SinkContext",
    "SinkType",
    "Unheard",
    "Verdict",
    "WatchedFiles",
    "imported",
    "typed",
]
