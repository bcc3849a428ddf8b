"""Hashes that distinguish rows of the same vehicle and time.

The hash is cryptographic, because a vehicle chooses the contents, and must not be able to construct a collision.
"""

from hashlib import blake2b


def content_hash(*parts: bytes | str) -> int:
    """A hash of parts and of their lengths, as a signed integer of 64 bits, the largest that SQLite stores."""
    *before, last = [part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in parts]
    return _hash(b"".join([b"%d:%b" % (len(part), part) for part in before]) + last)


def record_hash(txid: bytes, signals: bytes) -> int:
    """``content_hash`` of these two parts, in half of the time: every ``V`` record needs it."""
    return _hash(b"%d:%b%b" % (len(txid), txid, signals))


def _hash(framed: bytes) -> int:
    return int.from_bytes(blake2b(framed, digest_size=8).digest(), "big", signed=True)
