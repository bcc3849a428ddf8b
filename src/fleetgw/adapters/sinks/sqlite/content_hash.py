"""Tells rows apart that share vehicle and time.

A cryptographic hash, because the contents are the vehicle's choice: nobody finds two that share it.
"""

from hashlib import blake2b


def content_hash(*parts: bytes | str) -> int:
    """A hash of parts and of where each ends, as a signed integer of 64 bits, which is what SQLite stores."""
    *before, last = [part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in parts]
    return _hash(b"".join([b"%d:%b" % (len(part), part) for part in before]) + last)


def record_hash(txid: bytes, signals: bytes) -> int:
    """``content_hash`` of these two, in half of its time: every ``V`` record needs it."""
    return _hash(b"%d:%b%b" % (len(txid), txid, signals))


def _hash(framed: bytes) -> int:
    return int.from_bytes(blake2b(framed, digest_size=8).digest(), "big", signed=True)
