"""Listening sockets that the process inherits, as by systemd's socket activation."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from twisted.internet.endpoints import _SystemdParser

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6})


def announced_descriptors() -> dict[str, int]:
    """The file descriptors that ``LISTEN_FDS``, ``LISTEN_FDNAMES`` and ``LISTEN_PID`` announce to this process, by name.

    Twisted's endpoints read these variables when they are imported, and remove them: so it is Twisted that is asked.
    """
    return _SystemdParser._sddaemon.inheritedNamedDescriptors()  # which has no public way to the descriptors


def inherited_sockets(descriptors: Mapping[str, int]) -> dict[str, socket.socket]:
    """Take over listening sockets; they are not blocking from then on, and no child inherits them.

    :param descriptors: by name, which is the key of a port in the configuration.
    :raises ConfigurationError: one is not a listening TCP socket.
    """
    return {name: _listening(name, descriptor) for name, descriptor in descriptors.items()}


def _listening(name: str, descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003  positional only
        inherited = socket.socket(fileno=descriptor)
    except OSError as error:
        raise _refusal(name, f"is no socket ({error.strerror})") from error
    listens = inherited.type == socket.SOCK_STREAM and inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if inherited.family not in _FAMILIES or not listens:
        inherited.close()
        raise _refusal(name, "does not listen for TCP connections")
    inherited.setblocking(False)  # noqa: FBT003  positional only
    return inherited


def _refusal(name: str, what: str) -> ConfigurationError:
    fix = "have ListenStream= name a port, or an IP address and a port; Accept=no"
    return ConfigurationError([Problem(name, f"the inherited file descriptor of this name {what}", fix)])
