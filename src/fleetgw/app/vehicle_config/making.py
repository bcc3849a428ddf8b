"""Makes the body of a request to Tesla's API from the gateway's configuration and a list of fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class UnusableField(Exception):
    """An argument or a line is no field. ``str()`` is the reason."""


def parse_field(text: str, interval_s: int) -> tuple[str, dict[str, int]]:
    """A field's name, and its options, from ``Name`` or ``Name=SECONDS``.

    :param interval_s: where the text names none.
    :raises UnusableField: the seconds are no whole number.
    """
    name, equals, seconds = (part.strip() for part in text.partition("="))
    try:
        return name, {"interval_seconds": int(seconds) if equals else interval_s}
    except ValueError:
        raise UnusableField(f"{text!r}: write Name, or Name=SECONDS with a whole number") from None


def parse_field_list(text: str, interval_s: int) -> dict[str, dict[str, int]]:
    """Fields of a file: one ``Name`` or ``Name=SECONDS`` a line, with comments after ``#``; raises as ``parse_field``."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return dict(parse_field(line, interval_s) for line in lines if line)


def make_body(
    vins: Sequence[str],
    hostname: str,
    port: int,
    authorities: str,
    fields: Mapping[str, Mapping[str, int]],
    expires_at_s: int | None,
) -> dict[str, object]:
    """The body of ``POST /api/1/vehicles/fleet_telemetry_config``.

    :param authorities: PEM of those that issued the gateway's certificate.
    :param fields: options by name.
    :param expires_at_s: epoch seconds after which vehicles stop to stream; None: never.
    """
    config: dict[str, object] = {
        "hostname": hostname,
        "port": port,
        "ca": authorities,
        "fields": {name: dict(options) for name, options in fields.items()},
        "alert_types": ["service"],
        "prefer_typed": True,
        "delivery_policy": "latest",  # without it a vehicle does not send unacknowledged records again
    }
    if expires_at_s is not None:
        config["exp"] = expires_at_s
    return {"vins": list(vins), "config": config}
