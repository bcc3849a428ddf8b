"""Events in Python's own logging."""

import logging
from unittest import TestCase, mock

from fleetgw.adapters.logs.python_logging import PythonLog
from fleetgw.domain.ports import ILog
from tests.support.log_contract import LogContract


class Failing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise BrokenPipeError


def logger_with(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("test", logging.DEBUG)
    logger.addHandler(handler)
    return logger


class PythonLogTests(LogContract, TestCase):
    def make_log(self) -> ILog:
        return PythonLog(logger_with(logging.NullHandler()))

    def make_broken_log(self) -> ILog:
        return PythonLog(logger_with(Failing()))

    def test_an_event(self) -> None:
        handler = logging.Handler()
        with mock.patch.object(handler, "emit") as emit:
            PythonLog(logger_with(handler)).warn("something_odd", vin="X", count=3)
        (record,) = emit.call_args.args
        self.assertEqual(record.getMessage(), 'something_odd {"count":3,"vin":"X"}')
        self.assertEqual(
            (record.levelname, record.event, record.fields), ("WARNING", "something_odd", {"vin": "X", "count": 3})
        )

    def test_long_texts_are_cut(self) -> None:
        handler = logging.Handler()
        with mock.patch.object(handler, "emit") as emit:
            PythonLog(logger_with(handler)).warn("something_odd", txid="x" * 1_000_000)
        self.assertLess(len(emit.call_args.args[0].getMessage()), 10_000)

    def test_the_level_of_the_logger_decides(self) -> None:
        for level, written in (
            (logging.DEBUG, (True, True)),
            (logging.INFO, (False, True)),
            (logging.WARNING, (False, False)),
        ):
            log = PythonLog(logging.Logger("test", level))
            self.assertEqual((log.debug_enabled, log.info_enabled), written)
