"""apt's settings on the baking host, for a build machine: sources, keyrings, passwords, proxies.

``MOUNT`` is where they appear inside: everything that a setting names by path comes along below it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

MOUNT = "/run/bakeboot-build/host"
"""Where the host's settings appear inside a build machine."""

_SIGNED_BY = re.compile(r"(?i)(signed-by[:=][ \t]*)(/[^\s,\]]+)")


def apt_source_files(suite: str, etc: Path = Path("/etc/apt")) -> list[tuple[str, str]]:
    """The host's apt sources that serve ``suite``: (file name, content with only those entries)."""
    found = []
    for path in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))):
        if path.suffix == ".list" and path.exists():
            content = "\n".join(line for line in path.read_text().splitlines() if _line_serves(line, suite))
        elif path.suffix == ".sources":
            content = "\n\n".join(entry for entry in _stanzas(path.read_text()) if _stanza_serves(entry, suite))
        else:
            continue
        if content.strip():
            found.append((path.name, content.strip() + "\n"))
    return found


def apt_options() -> list[str]:
    """The host's ``Acquire`` settings (proxies, certificates, retries) as lines of apt.conf."""
    dump = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False)
    unwanted = ("Acquire::IndexTargets", "Acquire::Languages", "Acquire::CompressionTypes", "Acquire::Changelogs")
    lines = [line for line in dump.stdout.splitlines() if line.strip() and not line.endswith('"";')]
    return [*(line for line in lines if not line.startswith(unwanted)), 'Acquire::Languages "none";']


def apt_conf(options: Sequence[str]) -> str:
    """apt's settings for the build: the host's, and lists and archives on tmpfs, so that no trace stays."""
    return "\n".join(
        (
            *options,
            'Dir::Etc::sourcelist "/dev/null";',
            f'Dir::Etc::sourceparts "{MOUNT}/apt/sources.list.d";',
            f'Dir::Etc::netrcparts "{MOUNT}/apt/auth.conf.d";',
            'Dir::State::lists "/run/bakeboot-build/apt/lists";',
            'Dir::Cache "/run/bakeboot-build/apt/cache";',
            'APT::Install-Recommends "false";',
            'APT::Sandbox::User "root";',
            'DPkg::Options:: "--force-confold";',
            "",
        )
    )


def _line_serves(line: str, suite: str) -> bool:
    """Whether a one-line entry of sources.list(5) names ``suite`` or a pocket of it (``bookworm-updates``)."""
    words = re.sub(r"\[[^]]*\]", "", line).split()
    return len(words) > 2 and words[0] == "deb" and _is_of(suite, words[2])


def _stanza_serves(stanza: str, suite: str) -> bool:
    fields = dict(re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*)$", stanza))
    if fields.get("Enabled", "yes").strip().lower() == "no" or "deb" not in fields.get("Types", "").split():
        return False
    return any(_is_of(suite, word) for word in fields.get("Suites", "").split())


def _is_of(suite: str, word: str) -> bool:
    return word == suite or word.startswith((f"{suite}-", f"{suite}/"))


def _stanzas(text: str) -> list[str]:
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [stanza for stanza in re.split(r"\n\s*\n", plain) if stanza.strip()]


def apt_secrets(etc: Path = Path("/etc/apt")) -> dict[str, bytes]:
    """The host's passwords for its sources (apt_auth.conf(5)) and the keys that it trusts for all of them.

    Where it trusts any, a line of apt.conf points to them, in place of those of the base.
    """
    found: dict[str, bytes] = {}
    for folder, kind in ((etc / "auth.conf.d", "auth.conf.d"), (etc / "trusted.gpg.d", "trusted.gpg.d")):
        found |= {f"apt/{kind}/{file.name}": file.read_bytes() for file in sorted(folder.glob("*")) if file.is_file()}
    for name, place in (("auth.conf", "auth.conf.d/00-host.conf"), ("trusted.gpg", "trusted.gpg.d/00-host.gpg")):
        if (etc / name).is_file():
            found[f"apt/{place}"] = (etc / name).read_bytes()
    return found


def trust_line(secrets: Mapping[str, bytes]) -> str:
    """The line of apt.conf that has apt use the trusted keys among ``secrets``; "" where there is none."""
    trusted = any(name.startswith("apt/trusted.gpg.d/") for name in secrets)
    return f'Dir::Etc::trustedparts "{MOUNT}/apt/trusted.gpg.d";\n' if trusted else ""


def with_keyrings(
    sources: Mapping[str, str], read: Callable[[str], bytes | None]
) -> tuple[dict[str, str], dict[str, bytes]]:
    """The sources with each keyring that a ``Signed-By`` names brought along; and these keyrings.

    ``read(path)`` gives a file of the host, None where there is none: that entry stays as it is.
    """
    keyrings: dict[str, bytes] = {}

    def bring(match: re.Match[str]) -> str:
        content = read(match[2])
        if content is None:
            return match[0]
        name = f"apt/keyrings/{PurePosixPath(match[2]).name}"
        keyrings[name] = content
        return f"{match[1]}{MOUNT}/{name}"

    return {name: _SIGNED_BY.sub(bring, text) for name, text in sources.items()}, keyrings


def read_keyring(path: str) -> bytes | None:
    file = Path(path)
    return file.read_bytes() if file.is_file() else None
