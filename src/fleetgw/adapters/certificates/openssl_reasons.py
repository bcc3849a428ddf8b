"""OpenSSL's errors as text, with explanations and remedies for those about certificates and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from OpenSSL import SSL

_TOO_SHORT = ("its key is too short for this machine's OpenSSL", "use RSA of at least 2048 bits, or EC P-256")
_TOO_WEAK = ("it is signed with a digest too weak for this machine's OpenSSL", "have it signed anew, with SHA-256")
_NO_CURVE = ("its key is on a curve that OpenSSL does not take", "use EC P-256, or RSA of at least 2048 bits")
_NO_KIND = ("its key is of a kind that TLS has no use for", "use EC P-256, or RSA of at least 2048 bits")
_NOT_ITS_KEY = ("it is not the key of the certificate", "name the key that the certificate was made for")
_NO_PEM = ("it holds nothing that begins as PEM does", "save it as PEM: ASCII text without blanks before -----BEGIN")

_MEANINGS = {
    "key too small": _TOO_SHORT,
    "md too weak": _TOO_WEAK,
    "unsupported elliptic curve": _NO_CURVE,
    "unknown group": _NO_CURVE,
    "wrong curve": _NO_CURVE,
    "unknown certificate type": _NO_KIND,
    "values mismatch": _NOT_ITS_KEY,
    "type mismatch": _NOT_ITS_KEY,
    "no start line": _NO_PEM,
    "no certificate or crl found": _NO_PEM,
}
"""Explanation and remedy by a part of OpenSSL's error text."""


@frozen
class Reason:
    """Reason for which OpenSSL refuses a file.

    :ivar what: the explanation, with OpenSSL's own text.
    :ivar fix: the remedy; None where OpenSSL's text does not tell.
    """

    what: str
    fix: str | None = None


def reason_of(error: SSL.Error) -> Reason:
    """Explain a pyOpenSSL error that loading a file raised."""
    said = "; ".join(dict.fromkeys(str(entry[-1]) for entry in (error.args[0] if error.args else ()) if entry[-1]))
    for part, (what, fix) in _MEANINGS.items():
        if part in said:
            return Reason(f"{what} ({said})", fix)
    return Reason(said or "OpenSSL gives no reason")


def openssl_text(error: BaseException | None) -> str:
    """OpenSSL's own text in a pyOpenSSL error; that of any other error as it is."""
    errors = error.args[0] if error is not None and error.args else None
    if isinstance(errors, list) and errors and isinstance(errors[-1], tuple):
        return "; ".join(str(entry[-1]) for entry in errors)
    return str(error) or type(error).__name__
