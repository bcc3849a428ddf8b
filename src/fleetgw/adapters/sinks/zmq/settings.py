"""The settings of the ``zmq`` section, and the key files that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003  msgspec reads the annotations of sections
from pathlib import Path  # noqa: TC003  as above
from typing import Annotated, ClassVar

from attrs import field, frozen
from msgspec import Meta

from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.settings.values import OLD_RELIABLE_ACK, Positive, Settings
from fleetgw.domain.errors import ConfigurationError, Problem

_KEY_LENGTH = 40


class Zmq(Settings, frozen=True, kw_only=True):
    """A ZeroMQ PUB socket."""

    old_keys: ClassVar[Mapping[str, str]] = OLD_RELIABLE_ACK
    near_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(("address", "bind", "url", "endpoint"), "addr")

    addr: Annotated[str, Meta(description="Address to bind, such as `tcp://127.0.0.1:5284`.")] = ""
    server_key_json_path: Annotated[
        Path | None, Meta(description="JSON file with the z85 keys `secret` and `public`; turns CURVE on.")
    ] = None
    allowed_public_keys_json_path: Annotated[
        Path | None, Meta(description="JSON file with a list of the z85 public keys of the admitted clients.")
    ] = None
    verbose: Annotated[bool, Meta(description="Log the socket's events.")] = False
    high_water_mark: Annotated[
        Positive, Meta(description="Records queued for a slow subscriber; it misses further ones.")
    ] = 1_000
    high_water_bytes: Annotated[
        Positive,
        Meta(description="Bytes queued for all slow subscribers together; beyond that the slowest are disconnected."),
    ] = 33_554_432


@frozen
class CurveKeys:
    """CURVE (https://rfc.zeromq.org/spec/26): our key pair, z85, and the keys of the clients.

    :ivar allowed: public keys of clients; None admits every client that knows our public key.
    """

    public: bytes
    secret: bytes = field(repr=False)
    allowed: frozenset[bytes] | None


@frozen
class ZmqSettings:
    """The checked settings.

    :ivar curve: None for a socket without encryption.
    :ivar high_water_mark: records kept for a slow subscriber.
    :ivar high_water_bytes: bytes of records kept for all slow subscribers together.
    """

    addr: str
    curve: CurveKeys | None
    verbose: bool
    high_water_mark: int
    high_water_bytes: int

    @property
    def needs_ipv6(self) -> bool:
        """Whether the socket must support IPv6: for IPv6 addresses, and for ``*``, which includes IPv4.

        libzmq uses IPv4 for ``*`` on machines without IPv6.
        """
        return self.addr.startswith(("tcp://[", "tcp://*:"))


def read_settings(name: str, settings: Mapping[str, object]) -> ZmqSettings:
    """Read the section and its files.

    :param name: of the section, for errors.
    :raises ConfigurationError: there is no address, or a file without keys.
    """
    section = typed(Zmq, settings, name)
    if not section.addr:
        fix = 'must be an address to bind to, such as "tcp://127.0.0.1:5284"'
        raise ConfigurationError([Problem(f"{name}.addr", "is missing", fix)])
    return ZmqSettings(
        section.addr, _curve(name, section), section.verbose, section.high_water_mark, section.high_water_bytes
    )


def key_files(name: str, settings: Mapping[str, object]) -> list[Path]:
    """The files that the section names.

    :param name: of the sink, for errors.
    :raises ConfigurationError: the settings cannot work.
    """
    section = typed(Zmq, settings, name)
    return [file for file in (section.server_key_json_path, section.allowed_public_keys_json_path) if file]


def _curve(name: str, section: Zmq) -> CurveKeys | None:
    own, clients = section.server_key_json_path, section.allowed_public_keys_json_path
    if own is None:
        return None
    try:
        pair = json.loads(own.read_text("utf-8"))
        public, secret = _key(pair["public"]), _key(pair["secret"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        fix = 'must be a JSON file {"public": "...", "secret": "..."} with z85 keys of 40 characters'
        raise _unusable(f"{name}.server_key_json_path", own, fix) from error
    if clients is None:
        return CurveKeys(public, secret, None)
    try:
        return CurveKeys(public, secret, frozenset(map(_key, json.loads(clients.read_text("utf-8")))))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        fix = "must be a JSON file with a list of z85 keys of 40 characters"
        raise _unusable(f"{name}.allowed_public_keys_json_path", clients, fix) from error


def _key(text: str) -> bytes:
    key = text.encode("ascii")
    if len(key) != _KEY_LENGTH:
        raise ValueError
    return key


def _unusable(path: str, file: Path, fix: str) -> ConfigurationError:
    return ConfigurationError([Problem(path, f"{file} cannot be read or holds no keys", fix)])
