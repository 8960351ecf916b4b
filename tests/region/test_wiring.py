"""How a site and its machines are wired."""

from __future__ import annotations

import pytest

from region import wiring


def test_the_bridge_has_a_fixed_address_of_its_own_and_the_metadata_services() -> None:
    commands = wiring.bridge_commands()
    assert any("address 02:00:0a:4d:00:01 type bridge" in command for command in commands)
    assert "addr add 169.254.169.254/32 dev br0" in commands


def test_a_machines_hardware_address_follows_from_its_ip_address() -> None:
    # An address given to a later machine then means the same to those that remember it.
    link = wiring.wiring("bb-1", "10.77.0.250", "v7")
    assert link.in_site[0] == "link add v7 type veth peer name eth0 address 02:00:0a:4d:00:fa netns {netns}"
    assert wiring.hardware_address("172.31.5.9") == "02:00:ac:1f:05:09"


def test_a_machine_of_a_plain_site_knows_its_network_and_the_metadata_service_alone() -> None:
    link = wiring.wiring("bb-1", "10.77.0.250", "v7")
    assert "addr add 10.77.0.250/24 dev eth0" in link.in_machine
    assert link.in_machine[-2:] == ("route add 169.254.169.254/32 dev eth0", "route add unreachable default")
    assert link.settings == {}


def test_a_machine_of_a_region_reaches_all_networks_of_its_site_and_the_shared_addresses() -> None:
    link = wiring.wiring("rg-1", "172.31.5.9", "v7", ("172.31.0.0/16", "10.1.0.0/20"), "127.77.3")
    assert "addr add 172.31.5.9/16 dev eth0" in link.in_machine
    assert "route replace 10.1.0.0/20 dev eth0 scope link" in link.in_machine
    assert "route add 127.77.3.0/24 dev eth0 table local scope link src 172.31.5.9" in link.in_machine
    assert "route add 169.254.169.253/32 dev eth0" in link.in_machine
    assert link.settings == {"net/ipv4/conf/all/route_localnet": "1"}


def test_the_bridge_is_the_router_of_each_network() -> None:
    assert wiring.subnet_in_site("172.31.0.0/16") == "addr replace 172.31.0.1/16 dev br0"
    assert wiring.subnet_in_site("10.1.16.0/20") == "addr replace 10.1.16.1/20 dev br0"


def test_an_address_in_no_network_of_the_site_is_refused() -> None:
    with pytest.raises(ValueError, match=r"172\.31\.5\.9 is in none of 10\.1\.0\.0/20, 10\.77\.0\.0/24"):
        wiring.wiring("rg-1", "172.31.5.9", "v7", ("10.1.0.0/20",), "127.77.3")


@pytest.mark.parametrize(
    ("address", "block"),
    [("10.1.2.3", "10.0.0.0/8"), ("172.20.0.9", "172.16.0.0/12"), ("192.168.1.1", "192.168.0.0/16"), ("8.8.8.8", None)],
)
def test_a_vpcs_address_brings_the_private_block_that_it_is_of(address: str, block: str | None) -> None:
    assert wiring.block_of(address) == block
    assert not wiring.known(address, ["172.31.0.0/16"])


def test_addresses_of_the_sites_networks_are_known() -> None:
    assert wiring.known("172.31.255.1", ["172.31.0.0/16"])
    assert wiring.known("10.77.0.9", [])
