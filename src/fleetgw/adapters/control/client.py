"""A command's side of the control socket."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

from fleetgw.adapters.control.address import address, open_folder

if TYPE_CHECKING:
    from collections.abc import Callable


class NotRunning(Exception):
    """No gateway serves the folder."""


class Refused(Exception):
    """The gateway has not done what it was asked; ``str()`` is the reason."""


def ask(path: str, command: str, progress: Callable[[object], None], **request: object) -> object:
    """Ask the gateway that serves a folder; returns the result.

    :param progress: takes each report of the progress.
    :raises NotRunning: no gateway serves it.
    :raises Refused: the gateway cannot do it, has ended, or does not let this user.
    """
    with _connect(path) as connection:
        try:
            connection.sendall(json.dumps({"command": command, **request}).encode() + b"\n")
            for line in connection.makefile("rb"):
                match json.loads(line):
                    case {"progress": report}:
                        progress(report)
                    case {"result": result}:
                        return result
                    case {"error": str() as reason}:
                        raise Refused(reason)
        except OSError as error:
            raise Refused(f"the gateway has gone away: {error.strerror}") from error
    raise Refused("the gateway has ended before it had answered")


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder = open_folder(path)
        try:
            connection.connect(address(folder))
        finally:
            os.close(folder)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        connection.close()
        raise NotRunning(path) from error
    except OSError as error:
        connection.close()
        raise Refused(f"{path}: {error.strerror}; run the command as the user that the gateway runs as") from error
    return connection
