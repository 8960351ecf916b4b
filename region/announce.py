"""Telling the others of a site that an address has moved: a gratuitous ARP (RFC 5227, section 3, "ARP Announcement").

Each keeps the hardware address that it learnt for half a minute and more, and would send to nobody until then.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

_EVERYBODY = bytes(6 * [255])
_ARP = 0x0806


def frame(hardware: str, address: str) -> bytes:
    """The Ethernet frame that says: `address` is at `hardware` now. Pure."""
    sender = bytes.fromhex(hardware.replace(":", ""))
    ip = IPv4Address(address).packed
    request = bytes([0, 1, 8, 0, 6, 4, 0, 1]) + sender + ip + bytes(6) + ip  # Ethernet, IPv4, a request
    return _EVERYBODY + sender + _ARP.to_bytes(2, "big") + request


def announce(interface: str, hardware: str, address: str) -> None:
    """Sends it from the calling thread's network namespace. Raises OSError."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        raw.send(frame(hardware, address))
