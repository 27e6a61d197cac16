"""Addresses and networks of clients, of IPv4 and IPv6. A leaf: knows nothing of zgreen."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

_MAPPED = 96  # bits before the IPv4 address in an IPv6 one like ::ffff:192.0.2.7; a mapped network fixes all of them


def networks_of(addresses: tuple[str, ...]) -> list[Network]:
    """The networks that users give, an address being a network of one.

    :raises TypeError: one of them is no str.
    :raises ValueError: there is none, or one of them is neither an address nor a network.
    """
    if not addresses:
        raise ValueError("give at least one address")
    for address in addresses:
        if not isinstance(address, str):
            raise TypeError(f"an address is a str like '192.0.2.7' or '192.0.2.0/24', not {type(address).__name__}")
    return [_unmapped(ipaddress.ip_network(address)) for address in addresses]


def address_of(text: str) -> Address | None:
    """The address of a client; None if it has none, because it comes over ipc or inproc."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_in(address: Address | None, networks: Iterable[Network]) -> bool:
    """Whether *address* is in one of the *networks*; a client without an address is in none."""
    return address is not None and any(address in network for network in networks)


def _unmapped(network: Network) -> Network:
    """An IPv4 network that was written as one of IPv6 becomes the former, as `address_of` does with addresses."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED))
