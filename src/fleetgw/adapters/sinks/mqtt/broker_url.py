"""Reads the broker's address of the configuration: ``host:port``, or a URL."""

from __future__ import annotations

import re

from attrs import field, frozen

TLS_BY_SCHEME = {
    "": False,
    "tcp": False,
    "mqtt": False,
    "ws": False,
    "ssl": True,
    "tls": True,
    "tcps": True,
    "mqtts": True,
    "mqtt+ssl": True,
    "wss": True,
}
"""Scheme -> whether it means TLS."""

WEBSOCKET_PORTS = {"ws": 80, "wss": 443}
"""Scheme of MQTT over WebSocket -> its default port."""

VALID_FORMS = 'must be "host:port", "mqtts://host:port" for TLS, or "ws://host:port/path", "wss://host:port/path"'

LOCALHOST = "127.0.0.1"

_USER_INFO = re.compile(r"^([^/]*://)?([^/]*)@")


class UnusableBroker(ValueError):
    """The text is not the address of a broker. The message does not show it, because it may hold a password."""


@frozen
class Broker:
    """The parts of a broker's address.

    :ivar host: an IPv6 address without brackets.
    :ivar path: the path and query of MQTT over WebSocket; else empty.
    :ivar username: from ``user:password@`` of a URL; None where there is none.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def is_tls(self) -> bool:
        """Whether the scheme means TLS."""
        return TLS_BY_SCHEME[self.scheme]

    @property
    def is_websocket(self) -> bool:
        """Whether the scheme means MQTT over WebSocket."""
        return self.scheme in WEBSOCKET_PORTS


def split_user_info(broker: str) -> tuple[str, str | None, str | None]:
    """A broker's address without ``user:password@``, the user name and the password; None for a missing part."""
    found = _USER_INFO.match(broker)
    if found is None:
        return broker, None, None
    username, colon, password = found[2].partition(":")
    return (found[1] or "") + broker[found.end() :], username, password if colon else None


def read_broker(text: str) -> Broker:
    """Read a broker's address as the Go server's client does: nothing in it is percent-encoded.

    :raises UnusableBroker: the text is not an address.
    """
    plain, username, password = split_user_info(text.strip())
    scheme, separator, rest = plain.partition("://") if "://" in plain else ("", "", plain)
    scheme = scheme.lower()
    if scheme not in TLS_BY_SCHEME or (separator and not scheme):
        raise UnusableBroker(f"the scheme {scheme!r} is none of a broker's")
    address, slash, path = rest.partition("/")
    host, port = _host_and_port(address, WEBSOCKET_PORTS.get(scheme))
    if scheme in WEBSOCKET_PORTS:
        path = (slash + path).partition("#")[0] or "/"
        if any(character <= " " or character > "~" for character in path):
            raise UnusableBroker("the path holds characters that no URL may")
    else:
        path = ""
    return Broker(scheme, host, port, path, username, password)


def _host_and_port(address: str, default_port: int | None) -> tuple[str, int]:
    host, colon, port = address, "", ""
    if not address.endswith("]"):
        host, colon, port = address.rpartition(":")
        if not colon:
            host = address
    bracketed = host.startswith("[") and host.endswith("]")
    if not bracketed and ":" in host:
        raise UnusableBroker("an IPv6 address stands in brackets before the port")
    if not colon and default_port is not None and host:
        port = str(default_port)
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
        raise UnusableBroker("the port is missing or no number from 1 to 65535")
    host = host.strip("[]") or (LOCALHOST if colon and not bracketed else "")
    if not host or any(character <= " " or character in "/\\?#[]" for character in host):
        raise UnusableBroker("the host is missing or holds characters that no host may")
    return host, int(port)
