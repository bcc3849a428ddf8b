"""What may stand in a topic."""

from __future__ import annotations

import re

from fleetgw.adapters.codec.payload import MAX_NAME_LEVELS
from fleetgw.domain.errors import Rejected

_NON_CHARACTERS = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane | 0xFFFE)}-{chr(plane | 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)

NOT_IN_TOPICS = re.compile(f"[+#\0-\x1f\x7f-\x9f\ud800-\udfff{_NON_CHARACTERS}]")
"""Characters for which a broker ends the connection, or may: wildcards (MQTT 3.1.1, 3.3.2.1), control characters, surrogates
and Unicode's non-characters (1.5.3)."""


def topic_part(name: str) -> str:
    """A name as it may stand in a topic: ``_`` in place of each character that no broker need take."""
    return NOT_IN_TOPICS.sub("_", name)


NAME_LEVELS_LIMIT = MAX_NAME_LEVELS + 1
"""Levels that a vehicle's name may make in a topic: one more than the slashes that the codec accepts. mosquitto ends the
session above 200."""

NAME_SIZE_LIMIT_BYTES = 1_024
"""UTF-8 bytes of a vehicle's name in a topic. MQTT allows 65,535 in all, some brokers less."""


def named_part(name: str) -> str:
    """A name of the vehicle's choice, such as an alert's, as it may stand in a topic.

    :raises Rejected: it has too many levels or bytes: the broker might end the session over it.
    """
    levels = name.count("/") + 1
    if levels > NAME_LEVELS_LIMIT:
        raise Rejected(f"the name {_start(name)} has {levels} levels (/); {NAME_LEVELS_LIMIT} are allowed in a topic")
    part = topic_part(name[: NAME_SIZE_LIMIT_BYTES + 1])
    if len(part.encode()) > NAME_SIZE_LIMIT_BYTES:
        what = f"the name {_start(name)} is too long for a topic: {NAME_SIZE_LIMIT_BYTES} bytes are allowed"
        raise Rejected(f"{what}; MQTT allows 65535 in all")
    return part


def _start(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:40]}...")
