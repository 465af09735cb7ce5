"""What webhooks may call beside public https: `MEDJOBS_WEBHOOK_ALLOW`, read by the API and by the keeper."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Allowance:
    """What may be called beside public https: host names, and networks, from the setting."""

    hosts: frozenset[str]
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    @classmethod
    def parse(cls, text: str) -> Allowance:
        """From "hooks.hospital.lan, 10.1.0.0/16"; raises ValueError for a network that is none."""
        hosts, networks = set(), []
        for part in (piece.strip().lower() for piece in text.split(",")):
            if not part:
                continue
            try:
                networks.append(ipaddress.ip_network(part))
            except ValueError:
                if "/" in part:
                    raise
                hosts.add(part)
        return cls(frozenset(hosts), tuple(networks))

    def names(self, host: str) -> bool:
        """Whether a host, or an address written out, is allowed before anything is resolved."""
        try:
            return self.covers(host, ipaddress.ip_address(host))
        except ValueError:
            return host.lower() in self.hosts

    def covers(self, host: str, address: Address) -> bool:
        """Whether the target was allowed by name or by network."""
        return host.lower() in self.hosts or any(address in network for network in self.networks)
