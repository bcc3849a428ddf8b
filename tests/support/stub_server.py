"""Base of servers in the test's own process, in place of a broker or in front of one."""

import time
from threading import Event

from tests.support.free_ports import free_port


class StubServer:
    """A server that keeps its port while it is away, and whose answers the test can hold.

    Subclasses call ``come_back`` at the end of the constructor.

    :ivar port: on 127.0.0.1.
    :ivar delay_s: each answer waits so long.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.delay_s = 0.0
        self._flowing = Event()
        self._flowing.set()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    def go_away(self) -> None:
        """Stop listening and close every connection."""
        raise NotImplementedError

    def come_back(self) -> None:
        """Listen again."""
        raise NotImplementedError

    def hold(self) -> None:
        """Answer nothing until ``release``."""
        self._flowing.clear()

    def release(self) -> None:
        """Send the answers that were held."""
        self._flowing.set()

    def wait(self) -> None:
        """Wait while answers are held; call it in the thread of an answer, before sending it."""
        self._flowing.wait()
        time.sleep(self.delay_s)
