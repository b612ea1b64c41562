"""The config's `vpn` object, read into options: what is wrong in it is told by key, and a key's secret never."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from components.vpn_options import (
    AMAZON_ASN,
    HIGHEST_ASN,
    INSIDE_CIDRS,
    KEY,
    OFFICE_ASN,
    PROTOCOLS,
    Allowed,
    Gateway,
    Routing,
    VpnOptions,
    is_amazon_asn,
    is_inside_range,
    is_office_range,
    is_public,
)
from config_reader import ConfigReader, T

VPN_KEYS = (
    "customerGatewayIp", "officeCidrs", "routing", "bgpAsn", "amazonAsn", "insideCidrs", "gateway", "startupAction",
    "allow", "presharedKeys",
)  # fmt: skip


class VpnReader(ConfigReader):
    """Never tells a pre-shared key, not even one that stands under a mistyped name."""

    def _refuse(self, key: str, value: Any, allowed: str, default: T, because: str = "") -> T:
        shown = value if key in VPN_KEYS and key != "presharedKeys" else "(hidden)"
        return super()._refuse(key, shown, allowed, default, because)

    def asn(self, key: str, default: int, fits: Callable[[int], bool], allowed: str) -> int:
        value = self.number(key, default, (1, HIGHEST_ASN))
        return value if fits(value) else self._refuse(key, value, allowed, default)

    def allowed(self, key: str) -> tuple[Allowed, ...]:
        entries, found = self._json(key, []), []
        each = f"an object with port, 1 to 65535, and protocol, {' or '.join(PROTOCOLS)}"
        if not isinstance(entries, list):
            return self._refuse(key, entries, f"a list, each entry {each}", ())
        for entry in entries:
            if not isinstance(entry, dict) or (port := _allowed(entry)) is None:
                return self._refuse(key, entry, each, ())
            if port in found:
                return self._refuse(key, entry, f"{each}, each only once", ())
            found.append(port)
        return tuple(found)


def _allowed(entry: Mapping[str, Any]) -> Allowed | None:
    inner = ConfigReader(entry)
    found = Allowed(port=inner.number("port", 0, (1, 65535)), protocol=inner.choice("protocol", "tcp", PROTOCOLS))
    inner.refuse_unknown()
    return None if inner.problems else found


def read_vpn(reader: VpnReader) -> VpnOptions:
    options = VpnOptions(
        customer_gateway_ip=reader.checked(
            "customerGatewayIp", "", lambda text: "" if is_public(text) else "allowed is a public IPv4 address"
        ),
        office_cidrs=reader.texts("officeCidrs", (), is_office_range, "an IPv4 range, none of 169.254.0.0/16"),
        routing=Routing(reader.choice("routing", Routing.STATIC, tuple(Routing))),
        bgp_asn=reader.asn("bgpAsn", OFFICE_ASN, lambda number: number != 23456, "another number, 23456 is reserved"),
        amazon_asn=reader.asn(
            "amazonAsn", AMAZON_ASN, is_amazon_asn, f"a private number, 64512 to 65534 or 4200000000 to {HIGHEST_ASN}"
        ),
        inside_cidrs=reader.texts(
            "insideCidrs", INSIDE_CIDRS, is_inside_range, "a /30 of 169.254.0.0/16 that AWS does not keep for itself"
        ),
        gateway=Gateway(reader.choice("gateway", Gateway.VGW, tuple(Gateway))),
        startup_action=reader.choice("startupAction", "start", ("add", "start")),
        allow=reader.allowed("allow"),
        preshared_keys=reader.texts(
            "presharedKeys",
            (),
            lambda text: bool(KEY.fullmatch(text)),
            "8 to 64 letters, digits, . and _, the first not 0",
        ),
    )
    reader.refuse_unknown()
    return options
