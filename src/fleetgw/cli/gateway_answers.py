"""Forms of the answers under ``/api``, as far as commands show them in tables; members that a form lacks are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, ValidationError, convert

from fleetgw.cli.gateway_client import GatewayError

if TYPE_CHECKING:
    from fleetgw.cli.gateway_client import GatewayClient

T = TypeVar("T")


def read_as(form: type[T], value: object, client: GatewayClient) -> T:
    """An answer in its form.

    :raises GatewayError: the answer is of another form.
    """
    try:
        return convert(value, form)
    except ValidationError as error:
        raise GatewayError(
            f"{client.url} answers in a form that this command does not know ({error}); use its own version of the command"
        ) from error


class Vehicle(Struct, frozen=True, kw_only=True):
    """A vehicle that is connected, or has been since the start of the gateway; times are epoch milliseconds."""

    vin: str
    online: bool
    connections: int = 0
    online_since_ms: float | None = None
    offline_since_ms: float | None = None
    client_version: str | None = None
    network: str | None = None
    address: str | None = None
    last_record_ms: float | None = None
    records: int | None = None
    signals_today: int | None = None


class Vehicles(Struct, frozen=True, kw_only=True):
    """Answer of ``/api/vehicles``.

    :ivar total: number of vehicles that were found, of which ``vehicles`` has some.
    """

    vehicles: list[Vehicle]
    total: int


class Trace(Struct, frozen=True, kw_only=True):
    """One trace; times are epoch milliseconds.

    :ivar vin: the vehicle that is followed; None when the address ``ip`` is.
    :ivar next_line: number of the next line; the first one is 1.
    """

    id: int
    vin: str | None
    ip: str | None
    started_ms: float
    until_ms: float
    is_on: bool
    next_line: int
    size_bytes: int

    @property
    def whom(self) -> str:
        """The vehicle, or the address."""
        return self.vin or self.ip or ""


class Traces(Struct, frozen=True, kw_only=True):
    """Answer of ``/api/traces``."""

    traces: list[Trace]


class TraceLine(Struct, frozen=True, kw_only=True):
    """One line of a trace.

    :ivar n: its number.
    """

    n: int
    at_ms: float
    connection: str = ""
    stage: str
    text: str


class Refused(Struct, frozen=True, kw_only=True):
    """One recent refusal."""

    at_ms: float
    text: str
    fix: str | None = None
    address: str | None = None
    vin: str | None = None


class Refusals(Struct, frozen=True, kw_only=True):
    """Answer of ``/api/refusals``."""

    refusals: list[Refused]


class VehicleSignals(Struct, frozen=True, kw_only=True):
    """The signals of one vehicle."""

    vin: str
    today: int
    total: int
    per_day: dict[str, int] = {}


class Signals(Struct, frozen=True, kw_only=True):
    """Answer of ``/api/signals``.

    :ivar total: signals by record type.
    :ivar others: signals of the vehicles that are not counted singly.
    """

    since_ms: float
    days: list[str] = []
    total: dict[str, int] = {}
    vehicles: list[VehicleSignals] = []
    others: int = 0
