"""What the servers share that tests run in their own process, in place of a broker or before one."""

import time
from threading import Event

from tests.support.free_ports import free_port


class StubServer:
    """It keeps its port while it is away, and answers when the test lets it.

    Subclass it: ``come_back`` at the end of the constructor.

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
        """Stop listening and cut every connection."""
        raise NotImplementedError

    def come_back(self) -> None:
        """Listen again."""
        raise NotImplementedError

    def hold(self) -> None:
        """Answer nothing until ``release``."""
        self._flowing.clear()

    def release(self) -> None:
        """Answer what waits."""
        self._flowing.set()

    def wait(self) -> None:
        """To be called in the thread of an answer, before it is given."""
        self._flowing.wait()
        time.sleep(self.delay_s)
