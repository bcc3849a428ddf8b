"""The settings of the ``zmq`` section, and the key files that it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

HIGH_WATER_BYTES = 33_554_432
_KEY_LENGTH = 40


@frozen
class CurveKeys:
    """CURVE (https://rfc.zeromq.org/spec/26): our own pair of keys, z85, and the clients let in.

    :ivar allowed: public keys of clients; None lets in all who know ours.
    """

    public: bytes
    secret: bytes = field(repr=False)
    allowed: frozenset[bytes] | None


@frozen
class ZmqSettings:
    """What the sink goes by.

    :ivar curve: None for sockets in the clear.
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
        """Whether the socket is to be one of IPv6: for such addresses, and for every interface, IPv4's included.

        libzmq takes one of IPv4 for ``*`` where this machine has no IPv6.
        """
        return self.addr.startswith(("tcp://[", "tcp://*:"))


def read_settings(name: str, settings: Mapping[str, object]) -> ZmqSettings:
    """Read the section and its files.

    :param name: of the section, for errors.
    :raises ConfigurationError: there is no address, or a file holds no keys.
    """
    addr = settings.get("addr")
    if not isinstance(addr, str) or not addr:
        fix = 'must be an address to bind to, such as "tcp://127.0.0.1:5284"'
        raise ConfigurationError([Problem(f"{name}.addr", "is missing", fix)])
    marks = []
    for key, default in (("high_water_mark", 1_000), ("high_water_bytes", HIGH_WATER_BYTES)):
        mark = settings.get(key, default)
        if not isinstance(mark, int) or mark < 1:
            raise ConfigurationError([Problem(f"{name}.{key}", f"is {mark!r}", "must be a whole number from 1 on")])
        marks.append(mark)
    return ZmqSettings(addr, _curve(name, settings), bool(settings.get("verbose", False)), *marks)


def key_files(settings: Mapping[str, object]) -> list[Path]:
    """The files that the section names."""
    names = (settings.get("server_key_json_path"), settings.get("allowed_public_keys_json_path"))
    return [Path(str(name)) for name in names if name]


def _curve(name: str, settings: Mapping[str, object]) -> CurveKeys | None:
    own, clients = settings.get("server_key_json_path"), settings.get("allowed_public_keys_json_path")
    if not own:
        return None
    try:
        pair = json.loads(Path(str(own)).read_text("utf-8"))
        public, secret = _key(pair["public"]), _key(pair["secret"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        fix = 'must be a JSON file {"public": "...", "secret": "..."} with z85 keys of 40 characters'
        raise _unusable(f"{name}.server_key_json_path", own, fix) from error
    if not clients:
        return CurveKeys(public, secret, None)
    try:
        return CurveKeys(public, secret, frozenset(map(_key, json.loads(Path(str(clients)).read_text("utf-8")))))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        fix = "must be a JSON file with a list of z85 keys of 40 characters"
        raise _unusable(f"{name}.allowed_public_keys_json_path", clients, fix) from error


def _key(text: str) -> bytes:
    key = text.encode("ascii")
    if len(key) != _KEY_LENGTH:
        raise ValueError
    return key


def _unusable(path: str, file: object, fix: str) -> ConfigurationError:
    return ConfigurationError([Problem(path, f"{file} cannot be read or holds no keys", fix)])
