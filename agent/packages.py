"""What is installed on an image: apt packages, and what each repo's own environment holds.

Fills in the last part of ``image.json`` on the build machine, when all repos are built.
"""

from __future__ import annotations

import json
from pathlib import Path

from agent.image import ImageManifest, Packages
from agent.names import RECORD


def installed_packages(root: Path, repos: dict[str, str]) -> Packages:
    """The packages below ``root``; ``repos`` maps each repo to the commit that is in use."""
    python: dict[str, dict[str, str]] = {}
    node: dict[str, dict[str, str]] = {}
    for repo, commit in repos.items():
        checkout = json.loads((root / "srv/bakeboot" / repo / commit / RECORD).read_text())
        for language, versions in checkout.get("packages", {}).items():
            {"python": python, "node": node}[language][repo] = dict(versions)
    return Packages(apt=apt_packages(root), python=python, node=node)


def apt_packages(root: Path) -> dict[str, str]:
    """Installed packages and versions from dpkg's own database (dpkg(1), /var/lib/dpkg/status)."""
    installed = {}
    for stanza in (root / "var/lib/dpkg/status").read_text(encoding="utf-8", errors="replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] not in " \t")
        if fields.get("Status", "").endswith(" installed"):
            installed[fields["Package"]] = fields["Version"]
    return dict(sorted(installed.items()))


def describe(manifest: Path, root: Path, output: Path) -> ImageManifest:
    """Complete the manifest that the bake sent with what is installed, and write it to ``output``."""
    planned = ImageManifest.read(str(manifest))
    packages = installed_packages(root, {name: repo.commit for name, repo in planned.repos.items()})
    fields = {name: getattr(planned, name) for name in ImageManifest.__fields__}
    complete = ImageManifest(**{**fields, "packages": packages})
    output.write_text(complete.render(), encoding="utf-8")
    return complete
