"""The baking host's own package settings, as a build machine needs them: a door.

apt, pip and npm on the host may be set to a mirror, a proxy, local indexes, a CA of the company's own.
A bake uses them and keeps none: files come in as read-only mounts below ``/run``, the rest as
environment of the provisioners alone.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.build_plan import package_settings
from region.machine import Bind

MOUNT = "/run/bakeboot-build/host"
"""Where the settings appear inside a build machine."""

INDEXES = "/run/bakeboot-build/index"
"""Where local package indexes of the host appear, each below a number."""

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

_CA_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
)
_PASSED_ON = re.compile(r"(?i)^(https?_proxy|no_proxy|all_proxy|pip_\w+|npm_config_\w+)$")
_NEVER = re.compile(
    r"(?i)^(pip_(cert|config_file|require_virtualenv|target|prefix|user|root|cache_dir)|npm_config_(cafile|userconfig|globalconfig|prefix|cache))$"
)
_NPM_FILES = ("/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc", "~/.npmrc")
_NPM_DROPPED = re.compile(r"^\s*(cafile|prefix|cache|globalconfig|userconfig|nodedir|init-\S+)\s*=")


@dataclass(frozen=True)
class HostSettings:
    """``files``: name below MOUNT to content; ``binds``: local indexes; ``environment``: for provisioners."""

    files: Mapping[str, str]
    binds: tuple[Bind, ...]
    environment: Mapping[str, str]

    def shell(self) -> str:
        """The environment as a file for ``sh`` to read, every value quoted."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self.environment.items()))

    def for_builds(self) -> dict[str, str]:
        """What of the environment the build of a repo needs: where its packages come from."""
        return package_settings(self.environment)

    def write(self, folder: Path) -> Bind:
        """Write the files into ``folder`` (on tmpfs, made here) and return the mount that shows them."""
        folder.mkdir(mode=0o755)
        for name, content in (*self.files.items(), ("environment", self.shell())):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        (folder / "apt" / "sources.list.d").mkdir(parents=True, exist_ok=True)
        return Bind(folder, MOUNT)

    def secrets(self) -> tuple[str, ...]:
        """Strings that give these settings away: what an image is searched for afterwards."""
        found = {MOUNT}
        for value in self.environment.values():
            found.update(word for word in value.split() if "/" in word and len(word) > 8)
        found.update(str(bind.source) for bind in self.binds)
        return tuple(sorted(found))


def host_settings(suite: str, environ: Mapping[str, str] | None = None) -> HostSettings:
    """Gather the settings of this host that serve a base of Debian's ``suite`` (as ``bookworm``)."""
    environ = os.environ if environ is None else environ
    files = {"apt/apt.conf": _apt_conf(), **_apt_sources(suite)}
    environment = {name: value for name, value in environ.items() if _PASSED_ON.match(name) and not _NEVER.match(name)}
    pip = _pip_config()
    if pip:
        files["pip.conf"] = pip
        environment["PIP_CONFIG_FILE"] = f"{MOUNT}/pip.conf"
    npm = _npm_config()
    if npm:
        files["npmrc"] = npm
        environment["NPM_CONFIG_USERCONFIG"] = f"{MOUNT}/npmrc"
    if CA_BUNDLE.exists():
        files["ca.crt"] = CA_BUNDLE.read_text(errors="replace")
        environment.update(dict.fromkeys(_CA_VARIABLES, f"{MOUNT}/ca.crt"))
    environment["APT_CONFIG"] = f"{MOUNT}/apt/apt.conf"
    local = _local_paths("\n".join((pip, *environment.values())))
    binds = tuple(Bind(path, f"{INDEXES}/{number}") for number, path in enumerate(local))
    files = {name: _relocate(content, binds) if name == "pip.conf" else content for name, content in files.items()}
    return HostSettings(files, binds, {name: _relocate(value, binds) for name, value in environment.items()})


def apt_source_files(suite: str) -> list[tuple[str, str]]:
    """The host's apt sources that serve ``suite``: (file name, content with only those entries)."""
    found = []
    etc = Path("/etc/apt")
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


def _apt_sources(suite: str) -> dict[str, str]:
    return {f"apt/sources.list.d/{name}": content for name, content in apt_source_files(suite)}


def apt_options() -> list[str]:
    """The host's ``Acquire`` settings (proxies, certificates, retries) as lines of apt.conf."""
    dump = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False)
    unwanted = ("Acquire::IndexTargets", "Acquire::Languages", "Acquire::CompressionTypes", "Acquire::Changelogs")
    lines = [line for line in dump.stdout.splitlines() if line.strip() and not line.endswith('"";')]
    return [*(line for line in lines if not line.startswith(unwanted)), 'Acquire::Languages "none";']


def _apt_conf() -> str:
    """apt's settings for the build: the host's, and lists and archives on tmpfs, so that no trace stays."""
    return "\n".join(
        (
            *apt_options(),
            'Dir::Etc::sourcelist "/dev/null";',
            f'Dir::Etc::sourceparts "{MOUNT}/apt/sources.list.d";',
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


def _pip_config() -> str:
    """The host's pip settings in one file: what ``pip config list`` says, less paths of the host's own."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, capture_output=True, text=True, check=False).stdout
    lines = []
    for name, quoted in re.findall(r"(?m)^(?:global|install|user)\.([a-z-]+)=(.*)$", listed):
        if name in ("cert", "cache-dir", "target", "prefix", "user", "require-virtualenv"):
            continue
        value = str(ast.literal_eval(quoted))
        lines.append(f"{name} = " + "\n    ".join(value.split()))
    return "[global]\n" + "\n".join(lines) + "\n" if lines else ""


def _npm_config() -> str:
    """The host's npmrc files, the most general first, less paths of the host's own."""
    lines = []
    for name in _NPM_FILES:
        file = Path(name).expanduser()
        if file.is_file():
            lines += [line for line in file.read_text().splitlines() if not _NPM_DROPPED.match(line)]
    return "\n".join((*lines, "")) if lines else ""


def _local_paths(text: str) -> list[Path]:
    """Folders of the host that the settings point at: find-links, and what holds a ``file://`` index.

    An index's pages link to its files relatively, mostly beside it, so the folder above it comes in.
    """
    found = set()
    for word in text.split():
        path = Path(unquote(urlsplit(word).path) if word.startswith("file:") else word)
        if path.is_absolute() and path.is_dir() and not path.is_relative_to("/run") and not path.is_relative_to("/etc"):
            found.add(path.parent if word.startswith("file:") and len(path.parts) > 2 else path)
    return sorted(path for path in found if found.isdisjoint(path.parents))


def _relocate(text: str, binds: tuple[Bind, ...]) -> str:
    """``text`` with the host's local folders replaced by where they are mounted."""
    for bind in binds:
        text = re.sub(rf"{re.escape(str(bind.source))}(?=[/\s]|$)", str(bind.target), text)
    return text
