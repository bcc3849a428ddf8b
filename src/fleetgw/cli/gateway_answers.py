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
