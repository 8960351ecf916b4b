"""How a machine is put on its site's bridge."""

from __future__ import annotations

from region import site


def test_the_bridge_has_a_fixed_address_of_its_own_and_the_metadata_services() -> None:
    commands = site.bridge_commands()
    assert any("address 02:00:0a:4d:00:01 type bridge" in command for command in commands)
    assert "addr add 169.254.169.254/32 dev br0" in commands


def test_a_machines_hardware_address_follows_from_its_ip_address() -> None:
    # An address given to a later machine then means the same to those that remember it.
    link = site.wiring("bb-1", 250, 7)
    assert link.address == "10.77.0.250"
    assert link.in_site[0] == "link add v7 type veth peer name eth0 address 02:00:0a:4d:00:fa netns {netns}"
    assert link.in_machine[-2:] == ("route add 169.254.169.254/32 dev eth0", "route add unreachable default")
