"""The published certificate authorities of vehicles: their URLs and hashes, and the verification of a copy."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from fleetgw.adapters.certificates.bundle import read_bundle
from fleetgw.adapters.text.terminal import printable
from fleetgw.domain.errors import FleetgwError

if TYPE_CHECKING:
    from http.client import HTTPMessage
    from pathlib import Path
    from typing import IO

SIZE_LIMIT_BYTES = 1_000_000
TIMEOUT_S = 30.0


_REPOSITORY = "https://raw.githubusercontent.com/teslamotors/fleet-telemetry/main/config/files"


class BundleError(FleetgwError):
    """The bundle cannot be downloaded, or is not valid. ``str()`` is the reason."""


@frozen
class PublishedBundle:
    """A bundle that Tesla publishes.

    :ivar url: URL of the raw file.
    :ivar sha256: hash of its content in November 2026, in hex.
    """

    url: str
    sha256: str


_PRODUCTION = PublishedBundle(
    f"{_REPOSITORY}/prod_ca.crt", "c572d41d96b106fb20519e7fca3ab70693772aa96d6bab564073bacb097e3282"
)
_ENGINEERING = PublishedBundle(
    f"{_REPOSITORY}/eng_ca.crt", "6b9d2839b8d3c9fdcb0ad3303e39f7aa54965cccd3f7e3f989f779bfe8bea7ee"
)


@frozen
class Verdict:
    """The result of the verification of a copy.

    :ivar accepted: whether the copy may be used.
    :ivar lines: differences, as text; empty for the expected content.
    """

    accepted: bool
    lines: tuple[str, ...]


def published(*, engineering: bool) -> PublishedBundle:
    """The bundle for vehicles on the road, or the one for engineering."""
    return _ENGINEERING if engineering else _PRODUCTION


def download(url: str) -> bytes:
    """Download a bundle.

    :param url: https; http from loopback only, redirections included.
    :raises BundleError: the URL is not allowed, the download fails, or it is larger than ``SIZE_LIMIT_BYTES``.
    """
    _check_url(url)
    # a proxy is not used for this machine
    proxies = urllib.request.ProxyHandler({} if _is_loopback(urlsplit(url).hostname or "") else None)
    opener = urllib.request.build_opener(_CheckedRedirects(), proxies)
    try:
        with opener.open(url, timeout=TIMEOUT_S) as response:
            content: bytes = response.read(SIZE_LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BundleError(f"{url} cannot be downloaded: {error}; --from takes a copy that you got in another way") from error
    if len(content) > SIZE_LIMIT_BYTES:
        raise BundleError(f"{url} is larger than {SIZE_LIMIT_BYTES} bytes, so it is no bundle of certificates")
    return content


def check(content: bytes, bundle: PublishedBundle, previous: bytes, accept: str | None) -> Verdict:
    """Verify a copy.

    :param previous: content of the file to be replaced; empty when there is none.
    :param accept: the SHA-256 to accept although it is not the known one, in hex, or None.
    :raises BundleError: the copy holds no certificates, or one that cannot be read.
    """
    after = _certificates(content, "what was fetched")
    digest = hashlib.sha256(content).hexdigest()
    if digest == bundle.sha256:
        return Verdict(True, ())  # noqa: FBT003 - the field is named in the class above
    try:
        before = _certificates(previous, "the previous file") if previous else {}
    except BundleError:
        before = {}
    lines = [
        f"this is not the content that this version of fleetgw knows as {bundle.url}",
        f"  known SHA-256:   {bundle.sha256}",
        f"  fetched SHA-256: {digest}",
        f"against {'the previous file' if before else 'no previous file'}:",
        *(f"  added:   {line}" for fingerprint, line in after.items() if fingerprint not in before),
        *(f"  removed: {line}" for fingerprint, line in before.items() if fingerprint not in after),
        *(f"  kept:    {line}" for fingerprint, line in after.items() if fingerprint in before),
    ]
    if accept is not None and accept.replace(":", "").lower() == digest:
        return Verdict(True, (*lines, "accepted by --accept"))  # noqa: FBT003
    if accept is not None:
        lines.append(f"--accept names another content ({accept})")
    lines.append(f"nothing was written; if you trust this content, say so with --accept {digest}")
    return Verdict(False, tuple(lines))  # noqa: FBT003


def describe(content: bytes) -> list[str]:
    """One line for each certificate: subject, validity, SHA-256 fingerprint.

    :raises BundleError: as ``check``.
    """
    return list(_certificates(content, "the bundle").values())


@frozen
class Appended:
    """A file of authorities with more appended.

    :ivar content: content of the whole file; the old content is kept byte for byte.
    :ivar added: a line of text for each new certificate.
    :ivar kept: number of certificates that the file had.
    :ivar unreadable: number of blocks that cannot be read as certificates; they are kept, too.
    """

    content: bytes
    added: tuple[str, ...]
    kept: int
    unreadable: int


def append(own: bytes, bundle: bytes) -> Appended:
    """Append to ``own`` the certificates of ``bundle`` that it lacks.

    :raises BundleError: ``own`` has content without a certificate, so it is probably another kind of file.
    """
    there = read_bundle(own)
    present = {each.fingerprint(hashes.SHA256()) for each in there.certificates}
    if own.strip() and not present:
        raise BundleError("it holds no certificate that can be read, so it is no file of authorities: nothing was written")
    new = {
        certificate.public_bytes(Encoding.PEM): line
        for certificate, line in zip(_loaded(bundle), _certificates(bundle, "the bundle").values(), strict=True)
        if certificate.fingerprint(hashes.SHA256()) not in present
    }
    separator = b"" if not own or own.endswith(b"\n") else b"\n"
    return Appended(
        own + separator * bool(new) + b"".join(new), tuple(new.values()), len(there.certificates), len(there.unreadable)
    )


def write(file: Path, content: bytes) -> None:
    """Write a file atomically. An existing file keeps its mode and owner; a link stays a link.

    :raises OSError: it cannot be written; the old content is still there.
    """
    target = file.resolve()
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("wb") as stream:
            if target.exists():
                before = target.stat()
                os.fchmod(stream.fileno(), before.st_mode & 0o7777)
                with suppress(PermissionError):  # only root may give a file away
                    os.fchown(stream.fileno(), before.st_uid, before.st_gid)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _certificates(content: bytes, what: str) -> dict[bytes, str]:
    """Fingerprint -> a line of text, in the order of the bundle."""
    try:
        return {each.fingerprint(hashes.SHA256()): _described(each) for each in _loaded(content)}
    except (
        ValueError,
        TypeError,
        x509.InvalidVersion,
    ) as error:  # also of names and dates, parsed lazily
        raise BundleError(f"{what} holds no PEM certificates ({error})") from error


def _described(certificate: x509.Certificate) -> str:
    return printable(
        f"{certificate.subject.rfc4514_string()}, valid {certificate.not_valid_before_utc:%Y-%m-%d} to "
        f"{certificate.not_valid_after_utc:%Y-%m-%d}, SHA-256 {certificate.fingerprint(hashes.SHA256()).hex()}"
    )


def _loaded(content: bytes) -> list[x509.Certificate]:
    distinct = dict.fromkeys(x509.load_pem_x509_certificates(content))
    return list(distinct)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return
    raise BundleError(f"{url} is not fetched: it must be an https URL (http is for this machine only)")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
