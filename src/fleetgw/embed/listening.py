"""Who listens to what, and how a record gets to all of them."""

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

_UNHEARD = Unheard("nobody in this program listens")


@frozen
class Filter:
    """Which records a listener gets: those that fit everything that is given.

    :ivar fields: records of type ``V`` with at least one of these signals.
    """

    vins: frozenset[str] | None
    record_types: frozenset[str] | None
    fields: frozenset[str] | None

    def fits(self, record: Record) -> bool:
        """Whether a record is one of them."""
        return (
            (self.record_types is None or record.record_type in self.record_types)
            and (self.vins is None or record.vin in self.vins)
            and (self.fields is None or not self.fields.isdisjoint(record.fields))
        )

    def check_routed(self, routed: Collection[str]) -> None:
        """See that it can ever fit.

        :param routed: the record types that get to the listeners.
        :raises ValueError: a type never does.
        """
        for record_type in sorted(self.record_types or ()):
            if record_type not in routed:
                raise ValueError(
                    f"records of type {quoted([record_type])} are not routed to the listeners; they get "
                    f'{quoted(sorted(routed)) or "none"}: have "embedded" among records.{record_type} of the configuration'
                )


def make_filter(vin: Names, record_type: Names, field: Names) -> Filter:
    """Make a filter of one name, several names or None (any) each.

    :raises ValueError: a field that there is not, or fields of a type that has none.
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


class Taker(Protocol):
    """Takes the records that fit ``filter``. Compared by identity."""

    filter: Filter

    def __hash__(self) -> int: ...

    def take(self, record: Record) -> Deferred[object] | None:
        """Take a record; what is returned fires, once, when it is done with. An exception means that it could not be."""


class Listening:
    """A listener at work, until ``stop``.

    :ivar filter: the records that it gets.
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
        """Whether it still gets records."""
        return self in self._listeners

    def stop(self) -> None:
        """Get no more records; calls that are under way go on. Harmless when stopped already."""
        self._listeners.remove(self)

    def take(self, record: Record) -> Deferred[object] | None:
        """Call the listener."""
        answer = self._listener(record)
        if answer is None or isinstance(answer, Deferred):
            return answer
        return self._listeners.adopt(answer) if inspect.isawaitable(answer) else None


class Listeners:
    """All who listen: the ``receiver`` of the embedded sink.

    :ivar adopt: makes a Deferred of an awaitable, and sees to it that it runs.
    :ivar routed: the record types that get here, None while that is not known yet.
    """

    def __init__(self, adopt: Adopt) -> None:
        self.adopt = adopt
        self.routed: frozenset[str] | None = None
        self._takers: dict[Taker, None] = {}
        self._done: WeakKeyDictionary[DomainRecord, set[Taker]] = WeakKeyDictionary()

    def __contains__(self, taker: Taker) -> bool:
        return taker in self._takers

    def add(self, taker: Taker) -> None:
        """Give it records from now on.

        :raises ValueError: none of the type that it asks for ever get here.
        """
        if self.routed is not None:
            taker.filter.check_routed(self.routed)
        self._takers[taker] = None

    def remove(self, taker: Taker) -> None:
        """Give it no more."""
        self._takers.pop(taker, None)

    def open(self, routed: Collection[str]) -> None:
        """The record types that get here are known.

        :raises ValueError: somebody asks for another.
        """
        for taker in self._takers:
            taker.filter.check_routed(routed)
        self.routed = frozenset(routed)

    def receive(self, record: DomainRecord) -> Deferred[None] | None:
        """Give a record to everybody whom it concerns; one that is tried again, to those who have not been done with it.

        :return: None when all are done with it, else what fires then.
        :raises Unheard: there is nobody at all.
        :raises Exception: of a listener; the others have got the record all the same.
        """
        if not self._takers:
            raise _UNHEARD
        shown = Record(record)
        done = self._done.get(record, ())
        finished: list[Taker] = []
        waiting: list[tuple[Taker, Deferred[object]]] = []
        failed: list[Exception] = []
        for taker in tuple(self._takers):
            if taker in done or not taker.filter.fits(shown):
                continue
            try:
                answer = taker.take(shown)
            except Exception as error:  # the program's own; told further when all have been served
                failed.append(error)
                continue
            if answer is None:
                finished.append(taker)
            else:
                waiting.append((taker, answer))
        if waiting:
            return Deferred.fromCoroutine(self._finish(record, finished, waiting, failed))
        if failed:
            self._remember(record, finished)
            raise failed[0]
        return None

    async def _finish(
        self,
        record: DomainRecord,
        finished: list[Taker],
        waiting: list[tuple[Taker, Deferred[object]]],
        failed: list[Exception],
    ) -> None:
        results = await DeferredList([answer for _, answer in waiting], consumeErrors=True)  # cancelling it cancels them
        for (taker, _), (_, result) in zip(waiting, results, strict=True):
            if isinstance(result, Failure):
                failed.append(_error_of(result))
            else:
                finished.append(taker)
        if failed:
            self._remember(record, finished)
            raise failed[0]

    def _remember(self, record: DomainRecord, finished: list[Taker]) -> None:
        if finished:
            self._done.setdefault(record, set()).update(finished)


def _error_of(failure: Failure) -> Exception:
    error = failure.value
    if isinstance(error, Exception) and not isinstance(error, CancelledError):
        return error
    return Retryable("the listener was cancelled")  # which says nothing against the record
