"""The address of the control socket in a folder.

The path of a Unix socket has at most 107 bytes, and a folder's may be longer. The socket is therefore named through an open
descriptor of its folder.
"""

from __future__ import annotations

import os

SOCKET_NAME = "control"


def open_folder(path: str) -> int:
    """Open a folder so that ``address`` can name files in it.

    :raises OSError: that is not possible.
    """
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def address(folder: int) -> str:
    """The address of the socket in a folder, as long as the folder is open.

    :param folder: of ``open_folder``.
    """
    return f"/proc/self/fd/{folder}/{SOCKET_NAME}"
