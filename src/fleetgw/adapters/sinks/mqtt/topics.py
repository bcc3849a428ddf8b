"""What may stand in a topic."""

from __future__ import annotations

import re

_NON_CHARACTERS = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane | 0xFFFE)}-{chr(plane | 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)

NOT_IN_TOPICS = re.compile(f"[+#\0-\x1f\x7f-\x9f\ud800-\udfff{_NON_CHARACTERS}]")
"""Characters for which a broker ends the connection, or may: wildcards (MQTT 3.1.1, 3.3.2.1), control characters, surrogates
and Unicode's non-characters (1.5.3)."""


def topic_part(name: str) -> str:
    """A name as it may stand in a topic: ``_`` in place of each character that no broker need take."""
    return NOT_IN_TOPICS.sub("_", name)
