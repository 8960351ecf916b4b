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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from bake.host_apt import (
    MOUNT,
    apt_conf,
    apt_options,
    apt_secrets,
    apt_source_files,
    read_keyring,
    trust_line,
    with_keyrings,
)
from bake.traces import credentials
from region.machine import Bind

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
    """``files``: name below MOUNT to content; ``binds``: local indexes; ``environment``: for provisioners.

    An index's address may hold a password: none of it is in the ``repr``.
    """

    files: Mapping[str, str] = field(repr=False)
    binds: tuple[Bind, ...]
    environment: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """More files below MOUNT: apt's passwords and keys."""

    def shell(self) -> str:
        """The environment as a file for ``sh`` to read, every value quoted."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self.environment.items()))

    def write(self, folder: Path) -> Bind:
        """Write the files into ``folder`` (on tmpfs, made here) and return the mount that shows them."""
        folder.mkdir(mode=0o755)
        for name, content in (*self.files.items(), ("environment", self.shell())):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        for name, secret in self.secrets.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(secret)
        (folder / "apt" / "sources.list.d").mkdir(parents=True, exist_ok=True)
        (folder / "apt").chmod(0o700)  # apt runs as root; the build of a repo has no business with its passwords
        (folder / "environment").chmod(0o600)
        return Bind(folder, MOUNT)

    def traces(self) -> dict[str, str]:
        """Strings that no image may hold, and what each is: credentials, and where the settings were mounted."""
        given = [content.decode(errors="replace") for name, content in self.secrets.items() if "auth.conf.d" in name]
        own = [content for name, content in self.files.items() if name != "ca.crt"]
        secret = credentials((*own, *given, *self.environment.values()))
        found = dict.fromkeys(secret, "a credential of this host's package settings")
        return found | {f"{MOUNT}/": "a setting of the build", f"{INDEXES}/": "a package index of the build"}


def host_settings(suite: str, environ: Mapping[str, str] | None = None) -> HostSettings:
    """Gather the settings of this host that serve a base of Debian's ``suite`` (as ``bookworm``)."""
    environ = os.environ if environ is None else environ
    bundle = CA_BUNDLE.read_text(errors="replace") if CA_BUNDLE.exists() else ""
    npmrcs = [file.read_text() for name in _NPM_FILES if (file := Path(name).expanduser()).is_file()]
    sources, keyrings = with_keyrings(dict(apt_source_files(suite)), read_keyring)
    settings = settings_from(environ, apt_options(), sources, pip_config(_pip_says()), npm_config(npmrcs), bundle)
    secrets = {**apt_secrets(), **keyrings}
    files = {**settings.files, "apt/apt.conf": settings.files["apt/apt.conf"] + trust_line(secrets)}
    return replace(settings, files=files, secrets=secrets)


def settings_from(
    environ: Mapping[str, str],
    apt: Sequence[str],
    apt_sources: Mapping[str, str],
    pip: str,
    npm: str,
    ca_bundle: str,
) -> HostSettings:
    """The settings out of what the host says: ``apt`` lines of apt.conf, the others contents of files, "" for none."""
    files = {"apt/apt.conf": apt_conf(apt)}
    files |= {f"apt/sources.list.d/{name}": content for name, content in apt_sources.items()}
    environment = {name: value for name, value in environ.items() if _PASSED_ON.match(name) and not _NEVER.match(name)}
    for name, content, variable in (("pip.conf", pip, "PIP_CONFIG_FILE"), ("npmrc", npm, "NPM_CONFIG_USERCONFIG")):
        if content:
            files[name] = content
            environment[variable] = f"{MOUNT}/{name}"
    if ca_bundle:
        files["ca.crt"] = ca_bundle
        environment.update(dict.fromkeys(_CA_VARIABLES, f"{MOUNT}/ca.crt"))
    environment["APT_CONFIG"] = f"{MOUNT}/apt/apt.conf"
    local = local_folders("\n".join((pip, *environment.values())))
    binds = tuple(Bind(path, f"{INDEXES}/{number}") for number, path in enumerate(local))
    files = {name: relocate(content, binds) if name == "pip.conf" else content for name, content in files.items()}
    return HostSettings(files, binds, {name: relocate(value, binds) for name, value in environment.items()})


def _pip_says() -> str:
    """What ``pip config list`` says: this interpreter's pip, else the host's own."""
    for python in (sys.executable, "python3"):
        pip = [python, "-m", "pip", "config", "list"]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
    return ""


def pip_config(listed: str) -> str:
    """The host's pip settings as one pip.conf, out of ``pip config list``; less paths of the host's own."""
    lines = []
    for name, quoted in re.findall(r"(?m)^(?:global|install|user)\.([a-z-]+)=(.*)$", listed):
        if name in ("cert", "cache-dir", "target", "prefix", "user", "require-virtualenv"):
            continue
        value = str(ast.literal_eval(quoted))
        lines.append(f"{name} = " + "\n    ".join(value.split()))
    return "[global]\n" + "\n".join(lines) + "\n" if lines else ""


def npm_config(texts: Sequence[str]) -> str:
    """The host's npmrc files as one, the most general first; less paths of the host's own."""
    lines = [line for text in texts for line in text.splitlines() if not _NPM_DROPPED.match(line)]
    return "\n".join((*lines, "")) if lines else ""


def local_folders(text: str) -> list[Path]:
    """Folders of the host that the settings point at: find-links, and what holds a ``file://`` index.

    An index's pages link to its files relatively, mostly beside it, so the folder above it comes in.
    """
    found = set()
    for word in text.split():
        path = _local_path(word)
        if path is not None and path.is_dir():
            found.add(path.parent if word.startswith("file:") and len(path.parts) > 2 else path)
    return sorted(path for path in found if found.isdisjoint(path.parents))


def relocate(text: str, binds: Sequence[Bind]) -> str:
    """``text`` with paths and ``file://`` addresses into the host's local folders leading to where they are mounted."""

    def moved(match: re.Match[str]) -> str:
        path = _local_path(match[0])
        for bind in binds:
            if path is not None and path.is_relative_to(bind.source):
                there = str(PurePosixPath(bind.target) / path.relative_to(bind.source))
                slash = "/" if match[0].endswith("/") else ""
                return (f"file://{quote(there)}" if match[0].startswith("file:") else there) + slash
        return match[0]

    return re.sub(r"\S+", moved, text)


def _local_path(word: str) -> Path | None:
    """The absolute path that a word of the settings is or, as a ``file:`` address, names; None for any other."""
    path = Path(unquote(urlsplit(word).path) if word.startswith("file:") else word)
    if not path.is_absolute() or path == Path("/") or path.is_relative_to("/run") or path.is_relative_to("/etc"):
        return None
    return path
