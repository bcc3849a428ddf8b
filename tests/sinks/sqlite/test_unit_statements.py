"""The number of rows in a statement."""

from contextlib import closing
from unittest import TestCase

import apsw

from fleetgw.adapters.sinks.sqlite.statements import STATEMENT_BYTES, Insert, insert

TABLE = Insert("piece", ("number", "text"))


class Connection:
    """Notes the bytes of each statement."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.rows: list[int] = []
        self.sizes: list[int] = []

    def execute(self, sql: str, cells) -> None:
        self.rows.append(len(cells) // 2)
        self.sizes.append(sum(map(len, cells[1::2])))
        self._connection.execute(sql, cells)


class StatementTests(TestCase):
    def written(self, texts: list[str]) -> Connection:
        with closing(apsw.Connection(":memory:")) as file:
            file.execute("CREATE TABLE piece (id INTEGER PRIMARY KEY, number INTEGER, text TEXT)")
            connection = Connection(file)
            insert(connection, TABLE, [cell for row in enumerate(texts) for cell in row])
            self.assertEqual(file.execute("SELECT number, text FROM piece ORDER BY id").fetchall(), list(enumerate(texts)))
        return connection

    def test_small_rows_share_statements(self) -> None:
        self.assertEqual(self.written(["small"] * 600).rows, [256, 256, 32, 32, *[4] * 6])
        self.assertEqual(self.written([]).rows, [])

    def test_large_rows_do_not(self) -> None:
        """Python's lock is held while cells are copied."""
        large = "\x01" * (STATEMENT_BYTES // 5)
        connection = self.written([large] * 20)
        self.assertLessEqual(max(connection.sizes), STATEMENT_BYTES)
        self.assertEqual(connection.rows, [4] * 5)
        self.assertEqual(self.written([large * 6] * 3).rows, [1, 1, 1])

    def test_small_rows_share_statements_after_large_ones(self) -> None:
        self.assertEqual(self.written(["x" * STATEMENT_BYTES, *["small"] * 256]).rows, [1, 256])
