"""The stages of a connection, for a trace: socket, TLS handshake, upgrade, end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone

from fleetgw.adapters.ingress.certificate import shown_der
from fleetgw.adapters.ingress.events import certificate_fields
from fleetgw.domain.line_limit import cut

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fleetgw.adapters.ingress.client_hello import ClientHello
    from fleetgw.adapters.ingress.handshake_failure import HandshakeFailure
    from fleetgw.adapters.ingress.tls import VehicleTransport
    from fleetgw.adapters.ingress.upgrade import Answer
    from fleetgw.domain.ports import ITrace
    from fleetgw.domain.records import Vehicle

MAX_HEADER_CHARACTERS = 128
_HEADERS = ("host", "user-agent", "version", "x-network-interface", "x-txid", "x-forwarded-for")


def note_hello(trace: ITrace, hello: ClientHello) -> None:
    """The client's offer."""
    versions, protocols = ", ".join(hello.versions) or "no known version", cut(", ".join(hello.protocols))
    name = cut(hello.server_name)
    text = f"{versions}; {hello.ciphers} ciphers; host name {name or 'not given'}; ALPN {protocols or 'not given'}"
    trace.note("client_hello", text, versions=list(hello.versions), server_name=name, ciphers=hello.ciphers)


def note_handshake(trace: ITrace, transport: VehicleTransport, duration_s: float) -> None:
    """The handshake is complete: the certificate, and what was agreed."""
    try:
        shown = shown_der(transport.peer_certificate)
    except ValueError:  # the connection has ended meanwhile
        return
    fields = certificate_fields(shown)
    dates = f"valid from {fields['not_before']} to {fields['not_after']}"
    trace.note(
        "certificate", f'"{shown.subject}", issued by "{shown.issuer}", {dates}: accepted', **fields, verdict="accepted"
    )
    version, cipher = transport.agreed
    trace.note("handshake", f"done after {duration_s:.3f} s: {version}, {cipher}", version=version, cipher=cipher)


def note_failure(trace: ITrace, failure: HandshakeFailure) -> None:
    """The handshake has failed."""
    if failure.certificate is not None:
        fields = certificate_fields(failure.certificate)
        trace.note("certificate", f"{failure.what}: refused", **fields, verdict="refused")
    text = f"failed: {failure.what} ({failure.error}); {failure.fix}"
    trace.note("handshake", text, reason=failure.reason, error=cut(failure.error), what=failure.what, fix=failure.fix)


def note_answer(trace: ITrace, answer: Answer) -> None:
    """A request was answered."""
    request = answer.request
    if request is not None:
        headers = {name: cut(request.headers[name], MAX_HEADER_CHARACTERS) for name in _HEADERS if name in request.headers}
        text = (
            f"{cut(request.method)} {cut(request.path)}, {', '.join(f'{name}: {value}' for name, value in headers.items())}"
        )
        trace.note("request", text, method=cut(request.method), path=cut(request.path), headers=headers)
    status = answer.response.partition(b"\r\n")[0].decode("ascii", "replace").partition(" ")[2]
    if answer.upgraded is not None:
        vehicle = answer.upgraded.vehicle
        fields = {"device_id": vehicle.vin, "client_type": vehicle.identity.client_type, "txid": vehicle.connection_id}
        trace.note("upgrade", f"accepted as {vehicle.identity.sender_id}: {status}", status=status, **fields)
    else:
        why = f": {answer.reason}" if answer.reason else ""
        trace.note("upgrade", f"no upgrade: {status}{why}", status=status, reason=cut(answer.reason, 512))


def note_present(trace: ITrace, vehicle: Vehicle, connected_s: float) -> None:
    """The trace has begun while the vehicle was connected."""
    text = f"{vehicle.identity.sender_id} has been connected for {connected_s:.0f} s"
    trace.note("connected", text, device_id=vehicle.vin, connected_s=round(connected_s))


def note_end(trace: ITrace, reason: Failure, transport: VehicleTransport, *, is_closing: bool, is_open: bool) -> None:
    """The connection has ended.

    :param is_closing: the gateway had begun to close it.
    :param is_open: it was upgraded.
    """
    if reason.check(ConnectionAborted):
        text = "cut by the gateway"
    elif reason.check(SSL.Error):
        text = "ended by the error of TLS"
    elif is_closing:
        text = "closed by the gateway"
    elif reason.check(ConnectionDone):
        text = "closed by the peer"
    else:
        text = f"lost: {cut(str(reason.value) or type(reason.value).__name__, 512)}"
    if not transport.opening:
        text += ", without a byte from the peer, as probes do that only connect"
    elif not is_open:
        text += ", before its upgrade"
    trace.note("disconnected", text)
