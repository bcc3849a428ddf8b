"""Peer identity from a certificate. The issuer's name selects the rule that gives the client type."""

from collections.abc import Mapping
from typing import assert_never

from attrs import evolve, frozen

from fleetgw.domain.errors import Unauthorized
from fleetgw.domain.records import PeerIdentity


@frozen
class CertificateFacts:
    """The parts of a verified leaf certificate that the identity rules read.

    :ivar issuer_common_name: of the issuer's name; the last one if several, empty if none.
    :ivar subject_common_name: likewise of the subject.
    :ivar subject_units: the subject's organizational units, in certificate order.
    :ivar extended_key_usages: dotted OIDs, in certificate order.
    """

    issuer_common_name: str
    subject_common_name: str
    subject_units: tuple[str, ...] = ()
    extended_key_usages: tuple[str, ...] = ()


@frozen
class FixedClientType:
    """All certificates of the issuer have one client type.

    :ivar client_type: e.g. ``vehicle_device``.
    :ivar by_first_unit: other client types, by the first organizational unit of the certificate.
    """

    client_type: str
    by_first_unit: Mapping[str, str] = {}


@frozen
class ByExtendedKeyUsage:
    """The first usage in ``CLIENT_TYPES_BY_USAGE`` gives the client type, unless ``CLIENT_TYPES_BY_UNIT`` overrides it."""


IssuerRule = FixedClientType | ByExtendedKeyUsage

MAX_DEVICE_ID_CHARACTERS = 128
"""Longest device id: a VIN has 17 characters, other device ids a few dozen."""

MAX_SHOWN_CHARACTERS = 64
"""Longest name from a certificate within an error text; a longer one is cut."""

_ARC = "1.3.6.1.4.1.49279.2"
_LAST_ARCS = {
    1: "vehicle_device",
    11: "vehicle_board_device",
    2: "energy_device",
    12: "das_device",
    14: "vehicle_service",
    15: "das_service",
    16: "energy_service",
    28: "robotics_device",
}

CLIENT_TYPES_BY_USAGE: Mapping[str, str] = {
    f"{_ARC}.{realm}.{last}": client_type
    for realm in (4, 5)  # engineering, production
    for last, client_type in _LAST_ARCS.items()
}
"""Extended key usage OIDs that name a client type."""

EXCLUDED_USAGE = f"{_ARC}.5.1.1"
"""The usage of certificates for Wi-Fi authentication (EAP) only: they give no identity."""

CLIENT_TYPES_BY_UNIT: Mapping[str, str] = {
    "Solar Inverter": "solar_inverter_device",
    "Gen3 Wall Connector": "wall_connector_device",
}
"""Organizational units that override the client type found by usage; the first one counts."""


@frozen
class IssuerTable:
    """The issuers whose certificates give an identity.

    :ivar rules: by the issuer's common name, compared exactly.
    """

    rules: Mapping[str, IssuerRule]

    def extended(self, rules: Mapping[str, IssuerRule]) -> "IssuerTable":
        """Add rules: returns a new table. A rule for a name that has one replaces it."""
        return evolve(self, rules={**self.rules, **rules})


DEFAULT_ISSUERS = IssuerTable(
    {
        "TeslaMotors": FixedClientType("vehicle_device"),
        "Tesla Issuing CA": FixedClientType("vehicle_device"),
        "Tesla Motors Products CA": FixedClientType("vehicle_device", {"Tesla Motors SN": "vehicle_board_device"}),
        "Tesla Motors Product Issuing CA": ByExtendedKeyUsage(),
        "Tesla Motors Product RSA Issuing CA": ByExtendedKeyUsage(),
        "Tesla Motors GF3 Product Issuing CA": ByExtendedKeyUsage(),
        "Tesla Motors GF3 Product RSA Issuing CA": ByExtendedKeyUsage(),
        "Tesla Energy Product Issuing CA": ByExtendedKeyUsage(),
        "Tesla Energy GF0 Product Issuing CA": ByExtendedKeyUsage(),
        "Tesla Motors GF0 Product Issuing CA": ByExtendedKeyUsage(),
        "Tesla Motors GF Austin Product Issuing CA": ByExtendedKeyUsage(),
        "Tesla Motors GF Berlin Product Issuing CA": ByExtendedKeyUsage(),
        "Tesla Product Access Issuing CA": ByExtendedKeyUsage(),
        "Tesla China Product Access Issuing CA": ByExtendedKeyUsage(),
        "Tesla GF0 Product Access Issuing CA": ByExtendedKeyUsage(),
        "Tesla GF3 Product Access Issuing CA": ByExtendedKeyUsage(),
        "Tesla GF Austin Product Access Issuing CA": ByExtendedKeyUsage(),
        "Tesla GF Berlin Product Access Issuing CA": ByExtendedKeyUsage(),
    }
)
"""The issuers of the certificates that vehicles leave the factory with."""


def identify(facts: CertificateFacts, issuers: IssuerTable) -> PeerIdentity:
    """Give the identity of a peer.

    :raises Unauthorized: unknown issuer, no usage that names a client type, the excluded usage, or a common name that is
        missing, too long or not printable.
    """
    rule = issuers.rules.get(facts.issuer_common_name)
    match rule:
        case None:
            raise Unauthorized(
                f"the certificate's issuer {_shown(facts.issuer_common_name)} is not in the issuer table; the common "
                "name of the certificate authority that issues vehicle certificates must be"
            )
        case FixedClientType(client_type, by_first_unit):
            if facts.subject_units:
                client_type = by_first_unit.get(facts.subject_units[0], client_type)
        case ByExtendedKeyUsage():
            client_type = _client_type_by_usage(facts)
        case _:
            assert_never(rule)
    _check_device_id(facts)
    return PeerIdentity(client_type, facts.subject_common_name.replace(".", "-"))


def _check_device_id(facts: CertificateFacts) -> None:
    """Check the common name: it goes into topics, keys, file names, logs and terminals, so it must be short and printable.

    Not printable are control characters (NUL among them), format characters (such as those that reverse the direction of
    writing), surrogates, line separators, and blanks other than the space.
    """
    name = facts.subject_common_name
    if not name:
        what = "has no subject common name; it must be the VIN"
    elif len(name) > MAX_DEVICE_ID_CHARACTERS:
        what = (
            f"has a subject common name of {len(name)} characters, {_shown(name)}; it must be the VIN, or a device id of at "
            f"most {MAX_DEVICE_ID_CHARACTERS} characters"
        )
    elif not name.isprintable():
        what = f"has characters that are not printable in its subject common name {_shown(name)}; it must be the VIN"
    else:
        return
    raise Unauthorized(f"the certificate issued by {_shown(facts.issuer_common_name)} {what}")


def _shown(name: str) -> str:
    """Quote, escape and cut a name from a certificate."""
    return repr(name) if len(name) <= MAX_SHOWN_CHARACTERS else f"{name[:MAX_SHOWN_CHARACTERS]!r}..."


def _client_type_by_usage(facts: CertificateFacts) -> str:
    for usage in facts.extended_key_usages:
        if usage == EXCLUDED_USAGE:
            raise Unauthorized(
                f"the certificate of {_shown(facts.subject_common_name)} is for Wi-Fi authentication only ({usage})"
            )
        if usage in CLIENT_TYPES_BY_USAGE:
            for unit in facts.subject_units:
                if unit in CLIENT_TYPES_BY_UNIT:
                    return CLIENT_TYPES_BY_UNIT[unit]
            return CLIENT_TYPES_BY_USAGE[usage]
    raise Unauthorized(
        f"the certificate of {_shown(facts.subject_common_name)}, issued by {_shown(facts.issuer_common_name)}, has no "
        f"extended key usage that names a client type; it must have one of {_ARC}.4.* or {_ARC}.5.*"
    )
