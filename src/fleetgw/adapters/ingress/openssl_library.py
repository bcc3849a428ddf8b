"""OpenSSL's own functions, for what pyOpenSSL does not offer."""

from typing import Any

from OpenSSL import SSL

lib: Any = SSL._lib  # type: ignore[attr-defined]  # the cffi library behind pyOpenSSL, private and not typed
ffi: Any = SSL._ffi  # type: ignore[attr-defined]  # its companion, which makes and reads C values; not typed either
