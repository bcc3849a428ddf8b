"""The TLS context of the vehicles' port, which is made again when its files are replaced."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import define, field
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from fleetgw.adapters.certificates.files import validity
from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.ingress.tls_context import VehicleTls, make_context, read_vehicle_authorities
from fleetgw.adapters.logs.null import NullLog
from fleetgw.domain.health import Validity
from fleetgw.domain.ports import IReloadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography import x509
    from twisted.protocols.tls import TLSMemoryBIOProtocol

    from fleetgw.adapters.ingress.tls_context import TlsFiles
    from fleetgw.domain.ports import ILog


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _certificate_of(context: SSL.Context) -> x509.Certificate:
    certificate = SSL.Connection(context, None).get_certificate(as_cryptography=True)
    if certificate is None:
        raise ValueError("a context has a certificate")
    return certificate


@implementer(IOpenSSLServerConnectionCreator, IReloadable)
@define
class ReloadableContext:
    """Provides the newest context for each new connection; existing connections keep theirs.

    :ivar log: for skipped blocks of ``ca_file``, and for the server certificate's dates.
    :ivar now: returns the current time, with a time zone.
    :ivar certificate: the server's certificate in use; the file may contain another one by now.
    :ivar authority_expires: the earliest end of an authority's validity, of those that were valid as they were read; bundles
        keep old ones. None without any.
    """

    files: TlsFiles
    log: ILog = field(factory=NullLog)
    now: Callable[[], datetime] = _utc_now
    certificate: x509.Certificate = field(init=False)
    authority_expires: datetime | None = field(init=False)
    _watched: WatchedFiles = field(init=False)
    _context: SSL.Context = field(init=False)
    _not_valid: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self.use(self.files)

    def use(self, files: TlsFiles) -> None:
        """Take the context from these files for new connections.

        :raises ConfigurationError: a file cannot be used; the present context stays in use.
        """
        watched = WatchedFiles([files.ca_file, files.server_cert, files.server_key])
        self._read(files)
        self.files, self._watched = files, watched

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``. Checks the server certificate's dates as well.

        :raises ConfigurationError: a file cannot be used; the present context stays in use.
        """
        with self._watched.reading_changed() as changed:
            if changed:
                self._read(self.files)
            else:
                self._check_dates(self.files)
        return [str(file) for file in changed]

    def _read(self, files: TlsFiles) -> None:
        authorities = read_vehicle_authorities(files.ca_file)
        self._context = make_context(files, authorities)
        self.certificate = _certificate_of(self._context)
        now, ends = self.now(), [authority.not_valid_after_utc for authority in authorities.certificates]
        self.authority_expires = min((end for end in ends if end > now), default=None)
        for block in authorities.unreadable:
            self.log.warn("authority_skipped", file=str(files.ca_file), block=block.number, error=block.reason)
        self._check_dates(files)

    def _check_dates(self, files: TlsFiles) -> None:
        """Log when the server certificate becomes invalid because of its dates, and when it is valid again."""
        begins, ends, now = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc, self.now()
        not_valid = ""
        judged = validity(self.certificate, now)
        if judged is Validity.NOT_YET_VALID:
            not_valid = f"the certificate is not valid before {begins:%Y-%m-%d %H:%M:%S} UTC; this clock says {now:%Y-%m-%d}"
        elif judged is Validity.EXPIRED:
            not_valid = f"the certificate expired on {ends:%Y-%m-%d %H:%M:%S} UTC"
        if bool(not_valid) != bool(self._not_valid):
            file = str(files.server_cert)
            if not_valid:
                self.log.warn("server_certificate_not_valid", file=file, error=f"{not_valid}: vehicles refuse it")
            else:
                self.log.info("server_certificate_valid", file=file, until=f"{ends:%Y-%m-%d}")
        self._not_valid = not_valid

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> VehicleTls:  # noqa: ARG002  Twisted's signature
        """See ``IOpenSSLServerConnectionCreator``."""
        return VehicleTls(self._context, None)
