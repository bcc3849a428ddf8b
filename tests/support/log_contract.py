"""The contract of ``ILog``, as tests."""

from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from fleetgw.domain.ports import ILog

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object  # a mixin: the contract alone is no test


class BrokenStream:
    """A stream without a reader."""

    def write(self, _data: bytes, /) -> None:
        """Fail as a closed pipe does."""
        raise BrokenPipeError


class _Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no text for me")


def awkward_fields() -> dict[str, object]:
    """Fields that are hard to write, each for another reason."""
    endless: list[object] = []
    endless.append(endless)
    return {
        "not_utf8": b"\xff\xfe ok".decode("utf-8", "surrogateescape"),
        "nan": float("nan"),
        "infinities": [float("inf"), {"deep": float("-inf")}],
        "huge": 2**80,
        "keys": {1: "a", None: "b", "\udc80": "c"},
        "endless": endless,
        "unprintable": _Unprintable(),
        "error": ValueError("x"),
        "bytes": b"\x00\xff",
        "lines": "a\nb\r\n\x1b[31mc\u2028d",
        "nothing": None,
        # Names that a line uses itself.
        "msg": "mine",
        "level": "mine",
        "time": "mine",
        "context": "mine",
        "activity": "mine",
    }


class LogContract(TestCase):
    """Mix into a TestCase and give ``make_log`` and ``make_broken_log``."""

    def make_log(self) -> ILog:
        """A log that works."""
        raise NotImplementedError

    def make_broken_log(self) -> ILog:
        """A log whose output cannot be written (``BrokenStream``)."""
        raise NotImplementedError

    def _write_all(self, log: ILog) -> None:
        for write in (log.debug, log.info, log.warn, log.error):
            write("something_happened")
            write("something_happened", vin="5YJ3E1EA7KF000001", count=3, data={"a": [1, True]})
            write("something_happened", **awkward_fields())

    def test_provides_the_interface(self) -> None:
        verifyObject(ILog, self.make_log())

    def test_says_whether_it_writes(self) -> None:
        log = self.make_log()
        self.assertIn(log.debug_enabled, (True, False))
        self.assertIn(log.info_enabled, (True, False))

    def test_takes_any_fields(self) -> None:
        self._write_all(self.make_log())

    def test_never_raises_without_a_reader(self) -> None:
        self._write_all(self.make_broken_log())
