"""A region's status for a person."""

from __future__ import annotations

from typing import Any

from region.status_text import faults_table, headline, tables

INSTANCE: dict[str, Any] = {
    "id": "i-1",
    "state": "running",
    "impaired": False,
    "image": "ami-1",
    "lifecycle": "spot",
    "private_ip": "172.31.0.4",
    "public_ip": "127.77.1.10",
    "group": "web",
    "targets": {"tg": "healthy"},
}
STATUS: dict[str, Any] = {
    "name": "local",
    "endpoint": "http://127.77.1.1:4566",
    "started": 1000.0,
    "instances": [
        INSTANCE,
        {**INSTANCE, "id": "i-2", "impaired": True, "public_ip": "", "group": "", "targets": {}},
        {**INSTANCE, "id": "i-3", "impaired": True, "state": "terminated"},
    ],
    "groups": [
        {
            **{"name": "web", "min": 0, "desired": 3, "max": 4, "in_service": 1, "suspended": ["Launch"]},
            "instances": {"i-1": "InService", "i-3": "Pending:Wait", "i-4": "Pending:Wait"},
        }
    ],
    "load_balancers": [
        {
            **{"name": "lb", "dns_name": "127.77.1.11", "ports": [80, 443]},
            "target_groups": {"tg": {"i-1": "healthy", "i-2": "unhealthy", "i-3": "healthy"}},
        },
        {"name": "bare", "dns_name": "127.77.1.12", "ports": [], "target_groups": {}},
    ],
    "faults": [],
    "images": [{"id": "ami-1", "name": "shop-2026-11-24.1", "state": "available"}],
}


def test_the_first_line_says_where_and_since_when() -> None:
    assert headline(STATUS, 1125.0, "2026-11-24T00:00:00Z") == (
        "region local is up at http://127.77.1.1:4566 since 2026-11-24T00:00:00Z (2m05s)"
    )


def test_a_table_a_kind_with_what_matters_of_each() -> None:
    rows = [row for table in tables(STATUS) for row in table.rows]
    assert rows == [
        ("i-1", "running", "ami-1", "172.31.0.4", "127.77.1.10", "spot", "web", "tg:healthy"),
        ("i-2", "running, impaired", "ami-1", "172.31.0.4", "-", "spot", "-", "-"),
        ("i-3", "terminated", "ami-1", "172.31.0.4", "127.77.1.10", "spot", "web", "tg:healthy"),
        ("web", "1", "3", "0", "4", "2xPending:Wait", "Launch"),
        ("lb", "127.77.1.11", "80 443", "tg", "2xhealthy 1xunhealthy"),
        ("bare", "127.77.1.12", "-", "-", "-"),
        ("ami-1", "shop-2026-11-24.1", "available"),
    ]


def test_every_row_has_a_cell_for_each_column() -> None:
    assert all(len(row) == len(table.columns) for table in tables(STATUS) for row in table.rows)


def test_what_there_is_none_of_has_no_table() -> None:
    kinds = ("instances", "groups", "load_balancers", "images")
    assert tables({**STATUS, **{kind: [] for kind in kinds}}) == []


def test_a_fault_says_what_was_asked_for_in_a_person_s_units() -> None:
    table = faults_table(
        [
            {
                "id": "fault-1",
                "of": "api",
                "kind": "latency",
                "calls": "ec2:*",
                "seconds": 0.2,
                "rate": 0.5,
                "for": 90.0,
            }
            | {"seen": 3, "over": False},
            {
                "id": "i-1",
                "of": "metadata",
                "refused": "forever",
                "disabled": True,
                "gone": ["tags"],
                "wrong": {"a": "b"},
            },
        ]
    )
    assert table.rows == [
        ("fault-1", "api", "kind=latency calls=ec2:* seconds=200ms rate=0.5 for=1m30s seen=3"),
        ("i-1", "metadata", "refused=forever disabled=yes gone=tags wrong=a:b"),
    ]
