"""HTTP of the upgrade: parses requests and formats responses. Pure.

Status codes, headers and bodies are those of the Go server, so that monitoring built for it keeps working.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from email.utils import formatdate

from attrs import frozen

MAX_HEAD_BYTES = 65536
"""Maximum size of request line and headers together."""

_HEAD_END = re.compile(rb"\n\r?\n")
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/(1\.[01])\Z")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)\Z")
_CONTENT_TYPE = ("Content-Type", "text/plain; charset=utf-8")
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


@frozen
class Request:
    """A request without a body.

    :ivar path: as sent, without the query.
    :ivar headers: trimmed values by lower-case name; values of one name are joined with ``, ``.
    """

    method: str
    path: str
    version: str
    headers: Mapping[str, str]

    def asks_for(self, header: str, token: str) -> bool:
        """Whether a comma-separated header contains a token, in any case."""
        return token in (part.strip() for part in self.headers.get(header, "").lower().split(","))

    @property
    def websocket_key(self) -> str | None:
        """Key of a valid RFC 6455 upgrade request, otherwise None."""
        key = self.headers.get("sec-websocket-key", "")
        valid = (
            self.asks_for("connection", "upgrade")
            and self.asks_for("upgrade", "websocket")
            and self.asks_for("sec-websocket-version", "13")
            and _is_key(key)
        )
        return key if valid else None


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False


class BadRequest(Exception):
    """The bytes are no valid request; send ``response`` and close."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.response = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{status}"
        ).encode()


def split_head(received: bytes, searched_bytes: int) -> tuple[bytes, bytes] | None:
    """Split the received bytes after the request's head; None while the head is incomplete.

    :param searched_bytes: number of bytes at the last call, so that a head in many pieces is searched once.
    :raises BadRequest: the head is longer than ``MAX_HEAD_BYTES``.
    """
    end = _HEAD_END.search(received, max(0, searched_bytes - 2))
    if (end.start() if end else len(received)) > MAX_HEAD_BYTES:
        raise BadRequest("431 Request Header Fields Too Large")
    return (received[: end.start()], received[end.end() :]) if end else None


def parse_head(head: bytes) -> Request:
    """Parse request line and headers. Bytes that are not UTF-8 become U+FFFD.

    :raises BadRequest: they violate RFC 9112, or announce a body.
    """
    request_line, *lines = [line.removesuffix("\r") for line in head.decode("utf-8", "replace").split("\n")]
    request = _REQUEST_LINE.match(request_line)
    if request is None:
        raise BadRequest("400 Bad Request")
    method, target, version = request.groups()
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.match(line)
        if header is None:
            raise BadRequest("400 Bad Request")
        name = header[1].lower()
        value = header[2].strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if version == "1.1" and "host" not in headers:
        raise BadRequest("400 Bad Request: missing required Host header")
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise BadRequest("400 Bad Request")
    if target.startswith(("http://", "https://")):
        target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
    return Request(method, target.partition("?")[0], version, headers)


def switching_protocols(websocket_key: str) -> bytes:
    """Response that accepts an upgrade, always without extension and subprotocol."""
    digest = hashlib.sha1(websocket_key.encode() + _WEBSOCKET_GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + base64.b64encode(digest)
        + b"\r\n\r\n"
    )


def mtls_ok(request: Request) -> bytes:
    """Response of ``/status``."""
    headers = (("Date", formatdate(usegmt=True)), ("Content-Length", "7"), _CONTENT_TYPE)
    return _response(request, "200 OK", headers, "mtls ok", closing=closes(request))


def refused(request: Request, status: str, *, closing: bool) -> bytes:
    """Response that refuses a request.

    :param status: code and reason, such as ``400 Bad Request``.
    :param closing: whether the connection ends after it.
    """
    body = status.partition(" ")[2] + "\n"
    headers = (
        _CONTENT_TYPE,
        ("Sec-Websocket-Version", "13"),
        ("X-Content-Type-Options", "nosniff"),
        ("Date", formatdate(usegmt=True)),
        ("Content-Length", str(len(body))),
    )
    return _response(request, status, headers, body, closing=closing)


def _response(request: Request, status: str, headers: tuple[tuple[str, str], ...], body: str, *, closing: bool) -> bytes:
    close = (("Connection", "close"),) if closing else ()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers + close)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n{'' if request.method == 'HEAD' else body}".encode()


def closes(request: Request) -> bool:
    """Whether the client asks to close the connection after the response."""
    return request.asks_for("connection", "close") or (
        request.version == "1.0" and not request.asks_for("connection", "keep-alive")
    )


NOT_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
"""Response to plain HTTP on the TLS port."""
