"""Makes names valid parts of a topic."""

from __future__ import annotations

import re

from fleetgw.adapters.codec.payload import MAX_NAME_LEVELS
from fleetgw.domain.errors import Rejected

_NON_CHARACTERS = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane | 0xFFFE)}-{chr(plane | 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)

NOT_IN_TOPICS = re.compile(f"[+#\0-\x1f\x7f-\x9f\ud800-\udfff{_NON_CHARACTERS}]")
"""Characters over which a broker may end the connection: wildcards (MQTT 3.1.1, 3.3.2.1), control characters, surrogates and
Unicode's non-characters (1.5.3)."""


def topic_part(name: str) -> str:
    """A name as a part of a topic: ``_`` replaces each character that a broker may refuse."""
    return NOT_IN_TOPICS.sub("_", name)


NAME_LEVELS_LIMIT = MAX_NAME_LEVELS + 1
"""Topic levels that a name sent by a vehicle may have: one more than the slashes that the codec accepts. mosquitto ends the
session above 200."""

NAME_SIZE_LIMIT_BYTES = 1_024
"""UTF-8 bytes of a name sent by a vehicle. MQTT allows 65,535 for the whole topic, some brokers fewer."""


def named_part(name: str) -> str:
    """A name sent by a vehicle, such as that of an alert, as a part of a topic.

    :raises Rejected: the name has too many levels or bytes, over which a broker might end the session.
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
