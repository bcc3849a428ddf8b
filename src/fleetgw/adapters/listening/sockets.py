"""Listening sockets, on all addresses of IPv6 and IPv4 by default."""

from __future__ import annotations

import errno
import socket

EVERY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  as operators write it
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT})
_MAPPED = "::ffff:"


def unbracketed(host: str) -> str:
    """Remove the brackets that IPv6 addresses have in URLs."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def is_every_address(host: str) -> bool:
    """Whether a host means all addresses of this machine."""
    return unbracketed(host) in EVERY_ADDRESS


def bind_listener(host: str, port: int, backlog: int) -> socket.socket:
    """Bind a non-blocking socket and listen.

    :param host: an address, with or without brackets, or a name. A host that means all addresses gets those of IPv6 and
        IPv4, or of IPv4 alone where this machine has no IPv6.
    :raises OSError: it cannot be bound.
    """
    host = unbracketed(host)
    if host in EVERY_ADDRESS:
        try:
            return _bound(socket.AF_INET6, ("::", port), backlog)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            return _bound(socket.AF_INET, ("", port), backlog)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:  # of IDNA: an empty or a long label
        raise socket.gaierror(socket.EAI_NONAME, "no host can have this name") from error
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return _bound(family, address, backlog)


def _bound(family: int, address: tuple[object, ...], backlog: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.settimeout(0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" else 1)
        listener.bind(address)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def plain_address(address: tuple[object, ...]) -> tuple[object, ...]:
    """Address of a socket; an IPv4 peer of an IPv6 socket gets its IPv4 address."""
    host = str(address[0])
    if host.startswith(_MAPPED) and "." in host:
        return host.removeprefix(_MAPPED), address[1]
    return address
