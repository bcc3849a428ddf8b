"""Traces: the stages of a vehicle's conversations, from the accepted socket to the outcomes of its records."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from attrs import evolve, field, frozen
from twisted.web import http
from zope.interface import implementer

from fleetgw.adapters.monitoring.pages import PageRefusal
from fleetgw.adapters.secrets.masking import masked
from fleetgw.adapters.traces.files import TraceDescription
from fleetgw.domain.errors import Unheard
from fleetgw.domain.identity import MAX_DEVICE_ID_CHARACTERS
from fleetgw.domain.line_limit import cut
from fleetgw.domain.ports import ITrace, ITracing
from fleetgw.domain.record_stages import RecordStages

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.traces.lines import ITraceReactor, TraceLines, TraceStore
    from fleetgw.app.pipeline.outcome_watch import AnySettlement, OutcomeWatch
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import IStreamReader
    from fleetgw.domain.records import Record, Vehicle

MAX_TRACES = 10
"""Largest number of traces, those that have ended included. The oldest that has ended makes room for a new one."""

MAX_DURATION_S = 7 * 24 * 3600
"""Longest time that a trace can be given at once."""

MAX_TEXT_CHARACTERS = 512

MAX_QUOTED_CHARACTERS = 2000
"""Beginning of an outcome's reason in which secrets are searched, more than a stage shows of it."""

MAX_ADDRESS_CHARACTERS = 61
"""The longest IPv6 address has 45 characters; ``%`` and an interface of 15 may follow."""


class TraceRefused(PageRefusal):
    """A request about traces cannot be served."""


@implementer(ITrace)
@frozen
class ConnectionTrace:
    """Writes the stages of one connection into the traces that it belongs to.

    :ivar connection: ``host:port`` of the peer; empty where that is not known any more.
    :ivar ids: of the traces.
    """

    connection: str
    ids: tuple[int, ...]
    _traces: Traces = field(eq=False)

    def note(self, stage: str, text: str, **fields: object) -> None:
        """See ``ITrace``."""
        self._traces.write(self.ids, self.connection, stage, text, fields)


@implementer(ITracing)
class Traces:
    """All traces: which connections they follow, when they end, what is kept of them.

    :ivar is_on: whether one of them has not ended.
    :ivar changed: called when a trace has begun or ended, so that connections look for theirs.
    """

    def __init__(self, store: TraceStore, watch: OutcomeWatch, reactor: ITraceReactor, wall_ns: Callable[[], int]) -> None:
        """:param watch: its observer notes the outcomes of batches while a trace is on."""
        self._store = store
        self._watch = watch
        self._reactor = reactor
        self._wall_ns = wall_ns
        self.is_on = False
        self.changed: Callable[[], None] = _nobody
        self._ends: dict[int, IDelayedCall] = {}
        self._by_vin: dict[str, tuple[int, ...]] = {}
        self._by_ip: dict[str, tuple[int, ...]] = {}
        self._followed: WeakKeyDictionary[Vehicle, ITrace] = WeakKeyDictionary()

    # -- the life

    def start(self) -> Deferred[None]:
        """Go on with the traces of before the start that have not ended. Never fails."""
        return self._store.load().addCallback(lambda _: self._go_on())

    def _go_on(self) -> None:
        for lines in self._store.traces.values():
            if self._left_s(lines) > 0:
                self._schedule_end(lines)
                self.write((lines.description.id,), "", "gateway_started", "the gateway was started; the trace goes on", {})
        self._index()

    def stop(self) -> Deferred[None]:
        """Write what waits. Never fails."""
        for call in self._ends.values():
            call.cancel()
        ids = tuple(self._ends)
        self._ends.clear()
        self.write(ids, "", "gateway_stopped", "the gateway was stopped; the trace goes on after its next start", {})
        self._index()
        self.changed = _nobody  # breaks a reference cycle
        return self._store.stop()

    # -- stages

    def trace(self, host: str, remote: str, device_id: str = "") -> ConnectionTrace | None:
        """See ``ITracing``."""
        if not self.is_on:
            return None
        ids = (*self._by_ip.get(host, ()), *(self._by_vin.get(device_id, ()) if device_id else ()))
        return ConnectionTrace(remote, ids, self) if ids else None

    def follow(self, vehicle: Vehicle, trace: ITrace | None) -> None:
        """See ``ITracing``."""
        if trace is None:
            self._followed.pop(vehicle, None)
        else:
            self._followed[vehicle] = trace

    def write(self, ids: Collection[int], connection: str, stage: str, text: str, fields: Mapping[str, object]) -> None:
        """Write one stage into traces; those that have ended do not get it."""
        line = {"at_ms": self._now_ms(), "connection": connection, "stage": stage}
        encoded = json.dumps(line | {"text": cut(text, MAX_TEXT_CHARACTERS)} | dict(fields))[1:-1]
        for each in ids:
            lines = self._store.traces.get(each)
            if lines is not None and self._left_s(lines) > 0:
                self._store.add(lines, encoded)

    def _settled(self, sink: str, settlement: AnySettlement) -> None:
        """Note the outcomes of one batch."""
        for stage, records, reason in (
            ("delivered", settlement.delivered, None),
            ("retried", settlement.retried, settlement.retry_reason),
        ):
            by_trace: dict[ITrace, list[Record]] = {}
            for record in records:
                if (trace := self._trace_of(record)) is not None:
                    by_trace.setdefault(trace, []).append(record)
            for trace, its in by_trace.items():
                RecordStages(trace).settled(stage, sink, its, _reason(reason))
        for rejection in settlement.rejected:
            if (trace := self._trace_of(rejection.record)) is not None:
                stage = "unheard" if isinstance(rejection.reason, Unheard) else "dead_letter"
                RecordStages(trace).settled(stage, sink, [rejection.record], _reason(rejection.reason))

    def _trace_of(self, record: Record) -> ITrace | None:
        trace = self._followed.get(record.vehicle)
        if trace is not None or record.vin not in self._by_vin:
            return trace
        # of the spool, or of a connection that ended before the trace began
        return ConnectionTrace("", self._by_vin[record.vin], self)

    # -- requests

    def begin(self, wanted: Mapping[str, object]) -> tuple[Mapping[str, object], bool]:
        """Begin a trace, or join the one that follows the same vehicle or address.

        :param wanted: ``vin`` or ``ip``, and ``for_s``.
        :return: the trace as ``listed`` shows it, and whether it is new.
        :raises TraceRefused: the request is wrong, or there are too many traces.
        """
        vin, ip = _vehicle_or_address(wanted)
        duration_s = _duration_s(wanted.get("for_s"))
        until_ms = self._now_ms() + int(duration_s * 1000)
        for lines in self._store.traces.values():
            description = lines.description
            if (description.vin, description.ip) == (vin, ip) and self._left_s(lines) > 0:
                if until_ms > description.until_ms:
                    self._end_at(lines, until_ms)
                return self._shown(lines), False
        self._make_room()
        number = max(self._store.traces, default=0) + 1
        lines = self._store.begin(TraceDescription(number, vin, ip, self._now_ms(), until_ms))
        self._schedule_end(lines)
        self._index()
        return self._shown(lines), True

    def _make_room(self) -> None:
        if len(self._store.traces) < MAX_TRACES:
            return
        ended = [lines for lines in self._store.traces.values() if self._left_s(lines) <= 0]
        if not ended:
            what = f"{MAX_TRACES} traces are on, which is the most"
            raise TraceRefused(what, "end one: fleetgw trace list, then fleetgw trace stop ID", http.CONFLICT)
        oldest = min(ended, key=lambda lines: lines.description.until_ms)
        self._cancel_end(oldest)  # the wall clock may be ahead of the timer
        self._store.remove(oldest)

    def change(self, number: str, wanted: Mapping[str, object]) -> Mapping[str, object]:
        """Have a trace end ``for_s`` seconds from now; 0 ends it at once. What it has is kept.

        :raises TraceRefused: there is no such trace, or the request is wrong.
        """
        lines = self.lines(number)
        for_s = wanted.get("for_s")
        duration_s = 0.0 if for_s in (0, 0.0) and not isinstance(for_s, bool) else _duration_s(for_s)
        self._end_at(lines, self._now_ms() + int(duration_s * 1000))
        return self._shown(lines)

    def remove(self, number: str) -> None:
        """End a trace, and remove all that it has.

        :raises TraceRefused: there is no such trace.
        """
        lines = self.lines(number)
        self._cancel_end(lines)
        self._store.remove(lines)
        self._index()

    def listed(self) -> Mapping[str, object]:
        """All traces, as JSON."""
        return {"traces": [self._shown(lines) for _, lines in sorted(self._store.traces.items())], "max_traces": MAX_TRACES}

    def read(self, number: str, first_line: str) -> Deferred[bytes]:
        """Lines of a trace as NDJSON, from one number on: about a MiB of them. Empty when there are none.

        :raises TraceRefused: there is no such trace, or no such number.
        """
        lines = self.lines(number)
        if not (first_line.isascii() and first_line.isdigit() and len(first_line) < 18):
            raise TraceRefused(
                f"from is {cut(first_line)!r}", "from is the number of the first line that is wanted: 1 for all"
            )
        return self._store.read(lines, int(first_line))

    def read_on(self, lines: TraceLines, reader: IStreamReader) -> Callable[[], None]:
        """Give a reader the lines of a trace from now on, until the end of the trace; the result ends that earlier."""
        lines.readers.append(reader)
        if self._left_s(lines) <= 0:
            self._store.end_readers(lines)

        def leave() -> None:
            if reader in lines.readers:
                lines.readers.remove(reader)

        return leave

    def lines(self, number: str) -> TraceLines:
        """A trace by its id as text.

        :raises TraceRefused: there is none.
        """
        lines = self._store.traces.get(int(number)) if number.isascii() and number.isdigit() and len(number) < 10 else None
        if lines is None:
            raise TraceRefused(
                f"there is no trace {cut(number)!r}", "fleetgw trace list shows those that are there", http.NOT_FOUND
            )
        return lines

    def _shown(self, lines: TraceLines) -> Mapping[str, object]:
        description = lines.description
        return {
            "id": description.id,
            "vin": description.vin or None,
            "ip": description.ip or None,
            "started_ms": description.started_ms,
            "until_ms": description.until_ms,
            "is_on": self._left_s(lines) > 0,
            "next_line": lines.next_number,
            "size_bytes": lines.size_bytes,
            "dropped_lines": lines.dropped,
        }

    def _now_ms(self) -> int:
        return self._wall_ns() // 1_000_000

    # -- the end of a trace

    def _left_s(self, lines: TraceLines) -> float:
        return (lines.description.until_ms - self._now_ms()) / 1000

    def _end_at(self, lines: TraceLines, until_ms: int) -> None:
        self._cancel_end(lines)
        lines.description = evolve(lines.description, until_ms=until_ms)
        self._store.describe(lines)
        if self._left_s(lines) > 0:
            self._schedule_end(lines)
        self._index()

    def _schedule_end(self, lines: TraceLines) -> None:
        self._ends[lines.description.id] = self._reactor.callLater(self._left_s(lines), self._check_end, lines)

    def _check_end(self, lines: TraceLines) -> None:
        del self._ends[lines.description.id]
        if self._left_s(lines) > 0:  # the wall clock was set back
            self._schedule_end(lines)
        self._index()

    def _cancel_end(self, lines: TraceLines) -> None:
        call = self._ends.pop(lines.description.id, None)
        if call is not None:
            call.cancel()

    def _index(self) -> None:
        """Follow the traces that are on, and no others."""
        self._by_vin, self._by_ip = {}, {}
        for number in self._ends:
            description = self._store.traces[number].description
            index, key = (self._by_vin, description.vin) if description.vin else (self._by_ip, description.ip)
            index[key] = (*index.get(key, ()), number)
        for number, lines in self._store.traces.items():
            if number not in self._ends:
                self._store.end_readers(lines)
        self.is_on = bool(self._ends)
        self._watch.observer = self._settled if self.is_on else None
        if not self.is_on:
            self._followed.clear()
        self.changed()


def _reason(error: DeliveryError | None) -> str:
    """The reason of an outcome: a client library may quote an address with its password."""
    return "" if error is None else masked(str(error)[:MAX_QUOTED_CHARACTERS])


def _nobody() -> None:
    """Tell no connections."""


def _vehicle_or_address(wanted: Mapping[str, object]) -> tuple[str, str]:
    vin, ip = wanted.get("vin"), wanted.get("ip")
    if isinstance(vin, str) and ip is None:
        if vin and len(vin) <= MAX_DEVICE_ID_CHARACTERS and vin.isprintable():
            return vin, ""
        raise TraceRefused("vin is no VIN", f"it must have 1 to {MAX_DEVICE_ID_CHARACTERS} printable characters")
    if isinstance(ip, str) and vin is None:
        try:
            return "", plain_ip(ip)
        except ValueError as error:
            raise TraceRefused(f"ip is {cut(ip)!r}", "it must be one address, such as 203.0.113.9 or 2001:db8::9") from error
    raise TraceRefused("a trace follows a vehicle or an address", 'give one of "vin" and "ip", as text')


def plain_ip(text: str) -> str:
    """An address as connections have it: an IPv4 address within IPv6 is the IPv4 address.

    :raises ValueError: it is no address.
    """
    if len(text) > MAX_ADDRESS_CHARACTERS or not text.isprintable():
        raise ValueError("not an address with the name of an interface")
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _duration_s(for_s: object) -> float:
    if isinstance(for_s, int | float) and not isinstance(for_s, bool) and 1 <= for_s <= MAX_DURATION_S:
        return float(for_s)
    raise TraceRefused(f"for_s is {for_s!r:.100}", f"it must be a number of seconds, from 1 to {MAX_DURATION_S} (a week)")
