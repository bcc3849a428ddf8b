"""Bounded reading of files that a configuration names: neither a pipe nor a huge file can block the gateway."""

import errno
import os
import stat
from pathlib import Path

SIZE_LIMIT_BYTES = 16_000_000
"""Maximum size; no bundle of certificates or keys is as large."""


def read_regular_file(file: Path, limit_bytes: int = SIZE_LIMIT_BYTES) -> bytes:
    """Read a file.

    :raises OSError: it cannot be read, is no regular file (a pipe might never end), or is larger than ``limit_bytes``.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would block here
    with os.fdopen(descriptor, "rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, no file", str(file))
        content = stream.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {limit_bytes} bytes", str(file))
    return content


def unreadable_reason(error: OSError | ValueError) -> str:
    """Reason of a failure to read a file, in a few words."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
