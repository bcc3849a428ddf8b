"""The version of a file, and its migration to the current one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.sqlite.content_hash import content_hash
from fleetgw.adapters.sinks.sqlite.schema import MIGRATIONS, VERSION

if TYPE_CHECKING:
    import apsw

APPLICATION_ID = 0x666C6777  # "flgw": identifies our files

READABLE_FROM = 1
"""The first version with tables that a reader can use."""


class ForeignFile(Exception):
    """Another program, or a newer version of this one, has made the file. ``str()`` has the reason."""


def check_version(connection: apsw.Connection) -> int:
    """The version of an open file; 0 for an empty one.

    :raises ForeignFile: another program, or a newer version of this one, has made it.
    """
    version: int = connection.execute("PRAGMA user_version").get
    application_id: int = connection.execute("PRAGMA application_id").get
    if application_id != APPLICATION_ID and connection.execute("SELECT count(*) FROM sqlite_master").get:
        raise ForeignFile("it is a database of another program; name another file")
    if version > VERSION:
        raise ForeignFile(
            f"it has version {version}, this fleetgw knows up to {VERSION}; upgrade fleetgw, or name another file"
        )
    return version


def migrate(connection: apsw.Connection) -> None:
    """Migrate an open file to the current version, in one transaction.

    :raises ForeignFile: as ``check_version``.
    """
    if check_version(connection) == VERSION:
        return
    # the scripts call it with text and blobs alone
    connection.create_scalar_function("content_hash", content_hash, deterministic=True)  # type: ignore[arg-type]
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in MIGRATIONS[check_version(connection) :]:  # read again: another process may have migrated it meanwhile
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    # executescript() would commit before each
    return [statement for statement in script.split(";\n") if statement.strip()]
