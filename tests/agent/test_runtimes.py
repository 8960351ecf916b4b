"""agent/runtimes.py: what a root brings of its own, and which npm a Node gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.runtimes import fitting_npm, read_base


def test_a_base_is_read_from_its_files(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    packages = {"python3": "3.11.2-1+b1", "nodejs": "18.20.4+dfsg-1~deb12u1", "vim": "2:9"}
    stanzas = (
        f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n" for name, version in packages.items()
    )
    (tmp_path / "var/lib/dpkg/status").write_text("\n".join(stanzas))
    (tmp_path / "usr/bin").mkdir(parents=True)
    for name in ("python3", "python3.11", "python3.9", "python3.11-config"):
        (tmp_path / "usr/bin" / name).touch()
    (tmp_path / "usr/lib").mkdir()
    (tmp_path / "usr/lib/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    base = read_base(tmp_path)
    assert (base.python, base.node, base.pythons) == ("3.11.2", "18.20.4", ("3.9", "3.11"))
    assert base.abi.startswith("debian-12-")


@pytest.mark.parametrize(
    ("node", "npm"), [(12, "6"), (16, "8"), (18, "10"), (20, "10"), (22, "10"), (24, "11"), (26, "11")]
)
def test_a_node_gets_the_npm_that_it_shipped_with(node: int, npm: str) -> None:
    assert fitting_npm(node) == npm
