"""Masks secrets wherever the configuration or an error is shown: the one place that knows their names and forms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fleetgw.adapters.secrets.secret import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable

_SECRET_WORDS = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "privatekey",
    "apikey",
    "accesskey",
    "jaas",
    "authorization",
    "connectionstring",
    "oauthbearerconfig",
)
"""A name that contains one of these, its punctuation left out, is that of a secret."""

_SHORT_WORDS = frozenset({"key", "keys", "pw", "pass", "auth", "dsn", "sas", "bearer", "cookie", "pin"})
"""A name with one of these as a word of its own is that of a secret, unless it says of what kind the key is."""

_HARMLESS = frozenset(
    {
        *("public", "partition", "partitioning", "routing", "ordering", "primary", "foreign", "sort", "hash", "record"),
        *("message", "cache", "location", "file", "path", "id", "name", "field", "prefix", "type", "size", "serializer"),
        *("schema", "format", "column", "template", "by", "mechanism", "method"),
    }
)

_LEAST_HIDDEN = 6
"""Known secrets shorter than this are not looked for in a text: too much else looks like them."""

# All are bounded and begin at the beginning of a word: errors that quote a stranger's text are looked through as well.
_USER_INFO = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]{0,30}://)(?:([^\s:/@\"']{0,200}):)?[^\s\"']{0,2000}@")
_BARE_USER_INFO = re.compile(r"(?<![^\s\"'])([^\s:/@\"']{1,200}):(?!//)[^\s\"']{1,2000}@(?=[\w\[])")
_ASSIGNMENT = re.compile(r"(?<![\w.-])([\w.-]+)(\s{0,9}=\s{0,9})(?:(\\{0,9}[\"']).{0,2000}?\3|[^\s&;,\"'\\]+)")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(-----END [A-Z ]{0,30}PRIVATE KEY-----|$)", re.DOTALL)


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name, which has no type that says so, holds a secret."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    joined = "".join(words)
    if any(word in joined for word in _SECRET_WORDS):
        return True
    return not _SHORT_WORDS.isdisjoint(words) and _HARMLESS.isdisjoint(words)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without the secrets in it: those given, and what URLs, assignments and PEM blocks show.

    :param secrets: known ones, which are hidden wherever they occur.
    """
    for secret in secrets:
        if len(secret) >= _LEAST_HIDDEN:
            text = text.replace(secret, MASK)
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(MASK, text)
    if "@" in text:
        text = _USER_INFO.sub(_without_user_info, text)
        text = _BARE_USER_INFO.sub(rf"\1:{MASK}@", text)
    if "=" in text:
        text = _ASSIGNMENT.sub(_without_assigned, text)
    return text


def _without_user_info(found: re.Match[str]) -> str:
    user = found[2]
    return f"{found[1]}{MASK}@" if user is None else f"{found[1]}{user}:{MASK}@"


def _without_assigned(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}{MASK}" if is_secret_name(found[1]) else found[0]
