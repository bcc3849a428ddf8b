"""The limits of a spool."""

from typing import Literal

from attrs import frozen


@frozen
class SpoolLimits:
    """Bounds on the size and the age of a spool.

    :ivar max_bytes: most bytes of all files together. Damaged files that were kept aside take at most a quarter of it beside
        them, or a file's size.
    :ivar max_age_s: longest time that a record is kept, in seconds; 0 for no bound. Files are removed as a whole, so that
        it may be a fifth longer.
    :ivar file_bytes: most bytes of one file; at most a quarter of ``max_bytes`` is used.
    :ivar when_full: whether records are refused when there is no room, or the oldest file is removed.
    """

    max_bytes: int
    max_age_s: float = 0.0
    file_bytes: int = 64 * 1024 * 1024
    when_full: Literal["refuse", "drop_oldest"] = "refuse"
