"""Text of addresses: a host and a port, a URL."""

import re


def is_host_and_port(text: str) -> bool:
    """Whether a text is ``host:port``."""
    match = re.fullmatch(r"(?:[^\s:\[\]/]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})", text)
    return match is not None and 0 < int(match[1]) <= 65535


def is_http_url(text: str) -> bool:
    """Whether a text is a URL of ``http`` or ``https``, in ASCII, without user and password."""
    match = re.fullmatch(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?(?:/[!-~]*)?", text)
    return match is not None and 0 < int(match[1] or 80) <= 65535


def address(host: str, port: int | str) -> str:
    """Text ``host:port``, with an IPv6 address in brackets.

    :param port: empty where there is none.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(text: str, default_port: int) -> tuple[str, int]:
    """Split ``host:port``.

    :raises ValueError: the port is not a number.
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), default_port
    return host.strip("[]"), int(port)
