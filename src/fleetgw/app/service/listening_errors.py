"""Reasons why an address cannot be listened on, each with its remedy."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from attrs import frozen

_UNPRIVILEGED_FROM = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_USUALLY_UNPRIVILEGED_FROM = 1024


@frozen
class ListeningError:
    """The reason why an address cannot be listened on.

    :ivar what: a predicate for the subject ``host:port``, such as "is taken".
    :ivar fix: the remedy.
    """

    what: str
    fix: str


def explain(port: int, error: OSError) -> ListeningError:
    """Explain an error of ``bind`` or ``listen``.

    :param error: of the socket, or of the resolver where the host is a name.
    """
    said = f"({error.strerror or error})"
    if isinstance(error, socket.gaierror):
        fix = "correct the host, or write an IP address of this machine"
        return ListeningError(f"cannot be resolved {said}", fix)
    match error.errno:
        case errno.EADDRINUSE:
            fix = f"end the program that has it (ss -ltnp 'sport = :{port}' says which), or choose another port"
            return ListeningError(f"is taken {said}", fix)
        case errno.EACCES | errno.EPERM if port < unprivileged_from():
            fix = (
                "give the process CAP_NET_BIND_SERVICE (AmbientCapabilities= in its unit, --cap-add NET_BIND_SERVICE for "
                f"its container), set the sysctl net.ipv4.ip_unprivileged_port_start to {port}, or choose a port from "
                f"{unprivileged_from()} on"
            )
            what = f"is a port below {unprivileged_from()}, for which this user has no right {said}"
            return ListeningError(what, fix)
        case errno.EACCES | errno.EPERM:
            fix = "look at what restricts this process: SELinux, AppArmor, seccomp"
            return ListeningError(f"is forbidden to this process {said}", fix)
        case errno.EADDRNOTAVAIL:
            return ListeningError(f"is no address of this machine {said}", "name an address of this machine")
        case errno.EAFNOSUPPORT:
            fix = "name an IPv4 address of this machine"
            return ListeningError(f"is an IPv6 address, which this machine has not {said}", fix)
        case errno.EMFILE | errno.ENFILE:
            return ListeningError(f"gets no file descriptor {said}", "raise LimitNOFILE of the service, or ulimit -n")
    return ListeningError(f"cannot be listened on {said}", "name a free port of an address of this machine")


def unprivileged_from() -> int:
    """The first port that an unprivileged process may bind."""
    try:
        return int(_UNPRIVILEGED_FROM.read_text())
    except (OSError, ValueError):
        return _USUALLY_UNPRIVILEGED_FROM
