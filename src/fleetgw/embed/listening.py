"""Listeners with their filters, and the delivery of each record to all of them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field
from fleetgw.adapters.settings.spelling import did_you_mean, quoted
from fleetgw.domain.errors import Retryable, Unheard
from fleetgw.embed.record import Record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from fleetgw.domain.records import Record as DomainRecord

    Names = str | Collection[str] | None
    Listener = Callable[[Record], object]
    Adopt = Callable[[Awaitable[object]], Deferred[object]]

_UNHEARD = Unheard("this program has no listeners")


@frozen
class Filter:
    """Selects the records of a listener: those that match every criterion; None matches any record.

    :ivar fields: matches records of type ``V`` with at least one of these signals.
    """

    vins: frozenset[str] | None
    record_types: frozenset[str] | None
    fields: frozenset[str] | None

    def matches(self, record: Record) -> bool:
        """Whether a record matches."""
        return (
            (self.record_types is None or record.record_type in self.record_types)
            and (self.vins is None or record.vin in self.vins)
            and (self.fields is None or not self.fields.isdisjoint(record.fields))
        )

    def check_routed(self, routed: Collection[str]) -> None:
        """Check that records of every type in the filter are routed to the listeners.

        :param routed: the record types that are.
        :raises ValueError: those of a type are not.
        """
        for record_type in sorted(self.record_types or ()):
            if record_type not in routed:
                raise ValueError(
                    f"records of type {quoted([record_type])} are not routed to the listeners; they get "
                    f'{quoted(sorted(routed)) or "none"}: have "embedded" among records.{record_type} of the configuration'
                )


def make_filter(vin: Names, record_type: Names, field: Names) -> Filter:
    """Make a filter; each criterion is one name, several names, or None for any.

    :raises ValueError: there is no such field, or records of the type have no fields.
    """
    vins, record_types, fields = _names(vin), _names(record_type), _names(field)
    for name in sorted(fields or ()):
        if name not in Field.keys() and not name.isdigit():  # noqa: SIM118  no mapping
            hint = did_you_mean(name, Field.keys(), "see Field of protos/vehicle_data.proto")
            raise ValueError(f"there is no field {quoted([name])}; {hint}")
    if fields is not None:
        if record_types is not None and record_types != {"V"}:
            raise ValueError(f'only records of type "V" have fields; record_type is {quoted(sorted(record_types))}')
        record_types = frozenset({"V"})
    return Filter(vins, record_types, fields)


def _names(given: Names) -> frozenset[str] | None:
    if given is None:
        return None
    return frozenset([given]) if isinstance(given, str) else frozenset(given)


class Subscriber(Protocol):
    """Gets the records that match ``filter``. Compared by identity."""

    filter: Filter

    def __hash__(self) -> int: ...

    def take(self, record: Record) -> Deferred[object] | None:
        """Handle a record; None: it is handled, else a Deferred that fires then. An exception: it could not be handled."""


class Listening:
    """A registered listener, until ``stop``.

    :ivar filter: selects its records.
    """

    def __init__(self, listener: Listener, chosen: Filter, listeners: Listeners) -> None:
        self.filter = chosen
        self._listener = listener
        self._listeners = listeners
        listeners.add(self)

    def __repr__(self) -> str:
        return f"<Listening {self._listener!r}>"

    @property
    def active(self) -> bool:
        """Whether the listener still gets records."""
        return self in self._listeners

    def stop(self) -> None:
        """Get no more records; calls in progress go on. Does nothing when it has stopped already."""
        self._listeners.remove(self)

    def take(self, record: Record) -> Deferred[object] | None:
        """Call the listener."""
        answer = self._listener(record)
        if answer is None or isinstance(answer, Deferred):
            return answer
        return self._listeners.adopt(answer) if inspect.isawaitable(answer) else None


class Listeners:
    """All subscribers; its ``receive`` is the ``receiver`` of the embedded sink.

    :ivar adopt: runs an awaitable, and makes a Deferred of it.
    :ivar routed: the record types that are routed here; None before the start.
    """

    def __init__(self, adopt: Adopt) -> None:
        self.adopt = adopt
        self.routed: frozenset[str] | None = None
        self._subscribers: dict[Subscriber, None] = {}
        self._done: WeakKeyDictionary[DomainRecord, set[Subscriber]] = WeakKeyDictionary()

    def __contains__(self, subscriber: Subscriber) -> bool:
        return subscriber in self._subscribers

    def add(self, subscriber: Subscriber) -> None:
        """Deliver records to a subscriber from now on.

        :raises ValueError: records of a type in its filter are not routed here.
        """
        if self.routed is not None:
            subscriber.filter.check_routed(self.routed)
        self._subscribers[subscriber] = None

    def remove(self, subscriber: Subscriber) -> None:
        """Deliver no more records to a subscriber."""
        self._subscribers.pop(subscriber, None)

    def open(self, routed: Collection[str]) -> None:
        """Set the record types that are routed here.

        :raises ValueError: a subscriber's filter has another type.
        """
        for subscriber in self._subscribers:
            subscriber.filter.check_routed(routed)
        self.routed = frozenset(routed)

    def receive(self, record: DomainRecord) -> Deferred[None] | None:
        """Deliver a record to every subscriber it matches; on a retry, to those that have not handled it.

        :return: None when all have handled it, else a Deferred that fires then.
        :raises Unheard: there are no subscribers.
        :raises Exception: of a listener; the others have got the record.
        """
        if not self._subscribers:
            raise _UNHEARD
        shown = Record(record)
        done = self._done.get(record, ())
        finished: list[Subscriber] = []
        waiting: list[tuple[Subscriber, Deferred[object]]] = []
        failed: list[Exception] = []
        for subscriber in tuple(self._subscribers):
            if subscriber in done or not subscriber.filter.matches(shown):
                continue
            try:
                answer = subscriber.take(shown)
            except Exception as error:  # the program's own; raised once the others have got the record
                failed.append(error)
                continue
            if answer is None:
                finished.append(subscriber)
            else:
                waiting.append((subscriber, answer))
        if waiting:
            return Deferred.fromCoroutine(self._finish(record, finished, waiting, failed))
        if failed:
            self._remember(record, finished)
            raise failed[0]
        return None

    async def _finish(
        self,
        record: DomainRecord,
        finished: list[Subscriber],
        waiting: list[tuple[Subscriber, Deferred[object]]],
        failed: list[Exception],
    ) -> None:
        answers = [answer for _, answer in waiting]
        results = await DeferredList(answers, consumeErrors=True)  # cancelling the list cancels each
        for (subscriber, _), (_, result) in zip(waiting, results, strict=True):
            if isinstance(result, Failure):
                failed.append(_error_of(result))
            else:
                finished.append(subscriber)
        if failed:
            self._remember(record, finished)
            raise failed[0]

    def _remember(self, record: DomainRecord, finished: list[Subscriber]) -> None:
        if finished:
            self._done.setdefault(record, set()).update(finished)


def _error_of(failure: Failure) -> Exception:
    error = failure.value
    if isinstance(error, Exception) and not isinstance(error, CancelledError):
        return error
    return Retryable("the listener was cancelled")  # the record may be fine
