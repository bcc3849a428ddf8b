"""Masks secrets in shown configurations and errors: the one place that knows the names and forms of secrets."""

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
"""A name that contains one of these, punctuation ignored, is the name of a secret."""

_SHORT_WORDS = frozenset({"key", "keys", "pw", "pass", "auth", "dsn", "sas", "bearer", "cookie", "pin"})
"""A name with one of these as a whole word is the name of a secret, unless it also has one of ``_HARMLESS``."""

_HARMLESS = frozenset(
    {
        *("public", "partition", "partitioning", "routing", "ordering", "primary", "foreign", "sort", "hash", "record"),
        *("message", "cache", "location", "file", "path", "id", "name", "field", "prefix", "type", "size", "serializer"),
        *("schema", "format", "column", "template", "by", "mechanism", "method"),
    }
)

_MIN_CHARACTERS = 6
"""Known secrets shorter than this are not masked: other text would match them too often."""

# Text may be of a stranger's choice, so that the time must grow with its length and no faster: repetitions that may fail
# start once a word.
_WORD_WITH_AT = re.compile(r"(?<![^\s\"'])[^\s\"'@]*@[^\s\"']*")
_SCHEME = re.compile(r"(?<![\w+.-])[A-Za-z][\w+.-]{0,30}://")
_USER = re.compile(r"[^:/@]{0,200}:")
_BARE_USER_INFO = re.compile(r"([^:/@]{1,200}):(?!//).+@(?=[\w\[])")
_ASSIGNMENT = re.compile(r"(?<![\w.-])([\w.-]+)(\s{0,9}=\s{0,9})(?:(\\{0,9}[\"']).{0,2000}?\3|[^\s&;,\"'\\]+)")
_PATH = re.compile(r"[a-z_]+(?:\.[A-Za-z_]+|\[\d{1,5}\])+")  # of a configuration, such as a log line's key=tls.server_cert
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(-----END [A-Z ]{0,30}PRIVATE KEY-----|$)", re.DOTALL)


def is_secret_name(name: str) -> bool:
    """Whether the name of a setting says that its value is a secret."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    joined = "".join(words)
    if any(word in joined for word in _SECRET_WORDS):
        return True
    return not _SHORT_WORDS.isdisjoint(words) and _HARMLESS.isdisjoint(words)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Mask the secrets in a text: the given ones, and those in URLs, assignments and PEM blocks.

    :param secrets: known ones, which are masked wherever they occur.
    """
    for secret in secrets:
        if len(secret) >= _MIN_CHARACTERS:
            text = text.replace(secret, MASK)
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(MASK, text)
    if "@" in text:
        text = _WORD_WITH_AT.sub(_without_user_info, text)
    if "=" in text:
        text = _ASSIGNMENT.sub(_without_assigned, text)
    return text


def _without_user_info(found: re.Match[str]) -> str:
    """A word without what stands before its last ``@``, but for the user: ``scheme://user:...@host``, ``user:...@host``."""
    word: str = found[0]
    before, _, after = word.rpartition("@")
    if (scheme := _SCHEME.search(before)) is not None:
        user = _USER.match(before, scheme.end())
        word = f"{before[: (user or scheme).end()]}{MASK}@{after}"
    bare = _BARE_USER_INFO.match(word)
    return word if bare is None else f"{bare[1]}:{MASK}@{word[bare.end() :]}"


def _without_assigned(found: re.Match[str]) -> str:
    name, sign = found[1], found[2]
    is_path = name == "key" and _PATH.fullmatch(found[0], len(name + sign)) is not None
    return f"{name}{sign}{MASK}" if is_secret_name(name) and not is_path else found[0]
