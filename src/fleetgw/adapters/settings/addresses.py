"""Syntax of server addresses."""

import re


def is_host_and_port(text: str) -> bool:
    """Whether a text is ``host:port``."""
    match = re.fullmatch(r"(?:[^\s:\[\]/]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})", text)
    return match is not None and 0 < int(match[1]) <= 65535
