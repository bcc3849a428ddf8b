"""A second network beside the machine's own, joined by a cable (veth) that a test pulls out. Needs root."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from contextlib import contextmanager
from ipaddress import ip_network
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000


def missing() -> str | None:
    """Reason why no network can be made here, for people; None when one can."""
    if shutil.which("ip") is None:
        return "ip not found: install iproute2 (Debian: apt-get install iproute2)"
    if _ip("netns", "add", _name("probe")).returncode:
        return "no network namespace can be made: run the tests as root, in a container with --cap-add NET_ADMIN,SYS_ADMIN"
    _ip("netns", "del", _name("probe"))
    return None


class Network:
    """The network at the other end of the cable.

    :ivar host: the address of this machine, as seen from there.
    """

    def __init__(self, name: str, host: str) -> None:
        self.host = host
        self._name = name

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in a thread that is in this network; the sockets that it makes stay there."""
        result: list[T] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                with open(f"/run/netns/{self._name}") as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                result.append(function())
            except BaseException as error:
                failures.append(error)

        thread = Thread(target=run)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return result[0]

    def pull_the_cable(self) -> None:
        """Neither side hears anything of the other any more, an end of a connection included."""
        _checked("netns", "exec", self._name, "ip", "link", "set", "peer", "down")


@contextmanager
def network() -> Iterator[Network]:
    """A network that reaches this machine by a cable."""
    number = os.getpid() % 16384
    name, link, addresses = _name("net"), f"fleetgw{number}", ip_network("10.213.0.0/16").network_address + 4 * number
    _checked("netns", "add", name)
    try:
        _checked("link", "add", link, "type", "veth", "peer", "name", "peer", "netns", name)
        _checked("addr", "add", f"{addresses + 1}/30", "dev", link)
        _checked("link", "set", link, "up")
        inside = ("netns", "exec", name, "ip")
        _checked(*inside, "addr", "add", f"{addresses + 2}/30", "dev", "peer")
        _checked(*inside, "link", "set", "peer", "up")
        yield Network(name, str(addresses + 1))
    finally:
        _ip("link", "del", link)  # by itself: a socket keeps its network alive without its name
        _ip("netns", "del", name)


def _name(purpose: str) -> str:
    return f"fleetgw-{purpose}-{os.getpid()}"


def _ip(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ip", *arguments], capture_output=True, check=False)  # noqa: S603, S607  a fixed program


def _checked(*arguments: str) -> None:
    done = _ip(*arguments)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.decode().strip()}")
