"""The ports: interfaces between the core and the adapters.

Unless a docstring says otherwise, every method is called on the reactor's thread, calls do not overlap, and nothing is
raised. A method that waits returns a Deferred; every other method returns at once and never blocks. Times are seconds
where a name ends in ``_s``, milliseconds for ``_ms``, nanoseconds for ``_ns``. No port knows its callers.
"""

from fleetgw.domain.ports.allow_list import IAllowListSource as IAllowListSource
from fleetgw.domain.ports.codec import ConnectivityStatus as ConnectivityStatus
from fleetgw.domain.ports.codec import IRecordCodec as IRecordCodec
from fleetgw.domain.ports.dead_letters import IDeadLetters as IDeadLetters
from fleetgw.domain.ports.dispatch import DEFAULT_MEMORY_WEIGHT as DEFAULT_MEMORY_WEIGHT
from fleetgw.domain.ports.dispatch import RECEIPT as RECEIPT
from fleetgw.domain.ports.dispatch import IDispatcher as IDispatcher
from fleetgw.domain.ports.dispatch import IHoldsCopies as IHoldsCopies
from fleetgw.domain.ports.dispatch import IPromptDispatcher as IPromptDispatcher
from fleetgw.domain.ports.dispatch import IReloadable as IReloadable
from fleetgw.domain.ports.dispatch import ITakesFurtherTypes as ITakesFurtherTypes
from fleetgw.domain.ports.dispatch import NotReady as NotReady
from fleetgw.domain.ports.dispatch import Outcome as Outcome
from fleetgw.domain.ports.dispatch import Readiness as Readiness
from fleetgw.domain.ports.dispatch import Ready as Ready
from fleetgw.domain.ports.dispatch import Receipt as Receipt
from fleetgw.domain.ports.ingress import IGateway as IGateway
from fleetgw.domain.ports.ingress import ISession as ISession
from fleetgw.domain.ports.ingress import IVehicleLink as IVehicleLink
from fleetgw.domain.ports.observe import Finding as Finding
from fleetgw.domain.ports.observe import ICounter as ICounter
from fleetgw.domain.ports.observe import IDiagnosable as IDiagnosable
from fleetgw.domain.ports.observe import IErrorReporter as IErrorReporter
from fleetgw.domain.ports.observe import IGauge as IGauge
from fleetgw.domain.ports.observe import IHistogram as IHistogram
from fleetgw.domain.ports.observe import ILog as ILog
from fleetgw.domain.ports.observe import IMetrics as IMetrics
from fleetgw.domain.ports.observe import IStreamReader as IStreamReader
from fleetgw.domain.ports.observe import Verdict as Verdict
from fleetgw.domain.ports.spool import Appended as Appended
from fleetgw.domain.ports.spool import ISpool as ISpool
from fleetgw.domain.ports.spool import Page as Page
from fleetgw.domain.ports.spool import SpoolState as SpoolState
from fleetgw.domain.ports.trace import ITrace as ITrace
from fleetgw.domain.ports.trace import ITracing as ITracing
