"""Reads files of authorities' certificates: blocks of PEM with any text between them.

The configuration's check, the doctor and TLS all use this reader, so that they agree on a file.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

from attrs import frozen
from cryptography import x509
from OpenSSL import crypto

if TYPE_CHECKING:
    from collections.abc import Iterator

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BEGIN = re.compile(rb"(?:\A|(?<=[\r\n]))-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----")
_REJECTED_USES = 0xA0  # the context tag of CertAux.reject
_CLIENT_AUTH = bytes.fromhex("06082b06010505070302")
_ANY_USE = bytes.fromhex("0604551d2500")
_REASON_CHARACTERS = 200


@frozen
class UnreadableBlock:
    """A block whose certificate cannot be read.

    :ivar number: of the block in the file, from 1.
    """

    number: int
    reason: str

    def __str__(self) -> str:
        return f"certificate {self.number} of the file is skipped: {self.reason}"


@frozen
class Bundle:
    """Content of a file of authorities.

    :ivar certificates: in the file's order, without duplicates.
    """

    certificates: tuple[x509.Certificate, ...]
    unreadable: tuple[UnreadableBlock, ...]


def read_bundle(content: bytes) -> Bundle:
    """Read every certificate that can be read.

    A byte order mark, any line ends and text between blocks are allowed. Of ``TRUSTED CERTIFICATE`` blocks, which OpenSSL
    writes, those that are not trusted for clients are skipped.
    """
    content = content.removeprefix(_BYTE_ORDER_MARK)
    certificates: dict[x509.Certificate, None] = {}
    unreadable: list[UnreadableBlock] = []
    for number, begin in enumerate(_BEGIN.finditer(content), 1):
        try:
            certificates[_certificate(content, begin)] = None
        except Exception as error:  # exceptions of cryptography and OpenSSL share no base class
            reason = str(error)[:_REASON_CHARACTERS] or type(error).__name__
            unreadable.append(UnreadableBlock(number, reason))
    return Bundle(tuple(certificates), tuple(unreadable))


def _certificate(content: bytes, begin: re.Match[bytes]) -> x509.Certificate:
    label = begin[1]
    end = content.find(b"-----", begin.end())
    if end < 0 or not content.startswith(b"-----END %b-----" % label, end):
        raise ValueError(f"it has no line END {label.decode()}")
    der = binascii.a2b_base64(b"".join(content[begin.end() : end].split()), strict_mode=True)
    if label.startswith(b"TRUSTED"):
        _, _, whole = next(_elements(der))
        der, trust = der[:whole], der[whole:]
        if trust and not _trusts_clients(trust):
            raise ValueError("it is not trusted for clients")
    certificate = x509.load_der_x509_certificate(der)
    # both libraries read some parts lazily
    certificate.subject, certificate.issuer, certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018
    crypto.X509.from_cryptography(certificate)
    return certificate


def _trusts_clients(trust: bytes) -> bool:
    """Whether OpenSSL's trust settings after a certificate (X509_CERT_AUX) allow clients."""
    _, settings, _ = next(_elements(trust))
    for tag, uses, _ in _elements(settings):
        names_clients = _CLIENT_AUTH in uses or _ANY_USE in uses
        if tag == _REJECTED_USES and names_clients:
            return False
        if tag == 0x30 and not names_clients:
            return False
    return True


def _elements(der: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Tag, content and end of each element in DER."""
    position = 0
    while position < len(der):
        tag, size = der[position], der[position + 1]
        start = position + 2
        if size & 0x80:
            octets = size & 0x7F
            size = int.from_bytes(der[start : start + octets], "big")
            start += octets
        position = start + size
        if position > len(der):
            raise ValueError("it is cut off")
        yield tag, der[start:position], position
