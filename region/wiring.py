"""How a site and its machines are wired: the `ip` commands for each side, as words. Pure.

A site is one bridge with machines on it. Every network of the site is on that one bridge: its first address is the
bridge's (the VPC's router: "Subnet CIDR blocks" in the Amazon VPC User Guide), and each machine reaches all of it
directly.

Besides, a site may share addresses with this host, `127.77.N.0/24`: an address of them means the same on both sides,
each having its own loopback. `LOOPBACK_ROUTES` and the routes here make them usable between a site and its machines,
where the kernel would otherwise keep loopback addresses within one machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from region import imds

HOME = "10.77.0.0/24"
"""The network of a site that is asked for no address."""
GATEWAY = "10.77.0.1"
RESOLVER = "169.254.169.253"
"""Where a VPC answers DNS ("DNS attributes in your VPC", Amazon VPC User Guide)."""
LOOPBACK_ROUTES = {"net/ipv4/conf/all/route_localnet": "1"}
"""Kernel settings (below /proc/sys) of a namespace that loopback addresses are routed into and out of.

Nothing in a machine changes them: nspawn shows it /proc/sys read only.
"""


_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
"""What a VPC's block is taken from ("VPC CIDR blocks", Amazon VPC User Guide)."""


@dataclass(frozen=True)
class Wiring:
    """What a site gives an isolated machine: its address, and the `ip` commands for the site's and its own namespace.

    `{netns}` in a command stands for the machine's namespace, whose name is known only once the machine has one.
    `settings` of the machine's kernel come before the commands.
    """

    site: str
    address: str
    in_site: tuple[str, ...]
    in_machine: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)


def hardware_address(address: str) -> str:
    """That of the machine with this IP address.

    It follows from it, so that an address given to a later machine means the same to those that remember it.
    """
    return "02:00:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


def bridge_commands() -> tuple[str, ...]:
    return (
        "link set lo up",
        # A bridge left alone takes the lowest hardware address of its ports, so a machine more would change the
        # gateway's and the others would keep a stale ARP entry for it.
        f"link add br0 address {hardware_address(GATEWAY)} type bridge forward_delay 0 mcast_snooping 0",
        f"addr add {GATEWAY}/24 dev br0",
        f"addr add {imds.ADDRESS}/32 dev br0",
        "link set br0 addrgenmode none",
        "link set br0 up",
    )


def shared_in_site() -> tuple[str, ...]:
    return (f"addr replace {RESOLVER}/32 dev br0",)


def router(subnet: str) -> str:
    """The address of the bridge in a network: its first."""
    return str(IPv4Network(subnet)[1])


def subnet_in_site(subnet: str) -> str:
    return f"addr replace {router(subnet)}/{IPv4Network(subnet).prefixlen} dev br0"


def subnet_in_machine(subnet: str) -> str:
    return f"route replace {IPv4Network(subnet)} dev eth0 scope link"


def known(address: str, subnets: Sequence[str]) -> bool:
    """Whether the address is in one of a site's networks."""
    return any(IPv4Address(address) in IPv4Network(network) for network in (*subnets, HOME))


def block_of(address: str) -> str | None:
    """The private block that an address is in; None for a public address."""
    return next((block for block in _PRIVATE if IPv4Address(address) in IPv4Network(block)), None)


def network_of(address: str, subnets: Sequence[str]) -> IPv4Network:
    """The network of a site with these networks that the address is in. Raises ValueError when it is in none."""
    for network in map(IPv4Network, (*subnets, HOME)):
        if IPv4Address(address) in network:
            return network
    raise ValueError(f"{address} is in none of {', '.join((*subnets, HOME))}")


def wiring(site: str, address: str, port: str, subnets: Sequence[str] = (), shared: str = "") -> Wiring:
    """A machine at `address` on the bridge's port `port`, in a site with these networks; `shared` as `127.77.3`.

    Raises ValueError for an address in none of the networks.
    """
    own = network_of(address, subnets)
    return Wiring(
        site,
        address,
        (
            f"link add {port} type veth peer name eth0 address {hardware_address(address)} netns {{netns}}",
            f"link set {port} master br0 addrgenmode none",
            f"link set {port} up",
        ),
        (
            "link set lo up",
            "link set eth0 addrgenmode none",  # no IPv6 link-local address, as in a VPC without IPv6
            f"addr add {address}/{own.prefixlen} dev eth0",
            "link set eth0 up",
            f"route add {imds.ADDRESS}/32 dev eth0",
            *(subnet_in_machine(subnet) for subnet in subnets if IPv4Network(subnet) != own),
            *(_shared_in_machine(address, shared) if shared else ()),
            "route add unreachable default",  # what leads out of the site fails at once, and is not waited for
        ),
        dict(LOOPBACK_ROUTES) if shared else {},
    )


def _shared_in_machine(address: str, shared: str) -> tuple[str, ...]:
    return (
        f"route add {RESOLVER}/32 dev eth0",
        # The table `local` is asked first, and there a longer prefix wins over that of all of 127.0.0.0/8.
        f"route add {shared}.0/24 dev eth0 table local scope link src {address}",
    )


def publish_in_site(public: str, machine: str, subnets: Sequence[str]) -> tuple[str, ...]:
    """From now on `public` is on the bridge, where the machine at the private address `machine` answers for it."""
    source = router(str(network_of(machine, subnets)))  # one that the machine can answer to
    return (f"route replace {public}/32 dev br0 table local scope link src {source}",)


def publish_in_machine(public: str) -> tuple[str, ...]:
    """The machine answers for its public address by itself: so it works without a forwarder, for every protocol."""
    return (f"route replace local {public}/32 dev lo table local",)


def withdraw_in_site(public: str) -> tuple[str, ...]:
    return (f"route flush {public}/32 table local",)  # none is no error


def withdraw_in_machine(public: str) -> tuple[str, ...]:
    return (f"route flush {public}/32 table local",)
