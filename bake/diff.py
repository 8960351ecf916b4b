"""What changed from one image to another: commits of repos, packages, services. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.image import ImageManifest

Subjects = Callable[[str, str, str], list[tuple[str, str]]]
"""(repo, older commit, newer commit) to the commits between: (commit, subject), the newest first."""


@dataclass(frozen=True)
class RepoChange:
    """One repo's move. ``before`` or ``after`` is None where it was added or removed."""

    repo: str
    before: str | None
    after: str | None
    commits: tuple[tuple[str, str], ...] = ()
    undone: tuple[tuple[str, str], ...] = ()
    """Commits that the newer image no longer has."""


@dataclass(frozen=True)
class PackageChange:
    """One package of ``group`` (apt, or ``python storefront``); None is absent."""

    group: str
    package: str
    before: str | None
    after: str | None

    @property
    def what(self) -> str:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


@dataclass(frozen=True)
class ImageDiff:
    repos: tuple[RepoChange, ...]
    packages: tuple[PackageChange, ...]
    services_added: tuple[str, ...]
    services_removed: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """The diff as JSON can hold it."""
        return {
            "repos": [
                {
                    "repo": change.repo,
                    "before": change.before,
                    "after": change.after,
                    "commits": [{"commit": commit, "subject": subject} for commit, subject in change.commits],
                    "undone": [{"commit": commit, "subject": subject} for commit, subject in change.undone],
                }
                for change in self.repos
            ],
            "packages": [
                {"group": change.group, "package": change.package, "before": change.before, "after": change.after}
                for change in self.packages
            ],
            "services": {"added": list(self.services_added), "removed": list(self.services_removed)},
        }


def diff_images(before: ImageManifest, after: ImageManifest, subjects: Subjects) -> ImageDiff:
    """Compare two images; ``subjects`` tells the commits between two, none where it does not know."""
    repos = []
    for name in sorted({*before.repos, *after.repos}):
        old = before.repos[name].commit if name in before.repos else None
        new = after.repos[name].commit if name in after.repos else None
        if old == new:
            continue
        ahead = tuple(subjects(name, old, new)) if old and new else ()
        behind = tuple(subjects(name, new, old)) if old and new else ()
        repos.append(RepoChange(name, old, new, ahead, behind))
    return ImageDiff(
        tuple(repos),
        tuple(_package_changes(_groups(before), _groups(after))),
        tuple(sorted(set(after.services) - set(before.services))),
        tuple(sorted(set(before.services) - set(after.services))),
    )


def _groups(image: ImageManifest) -> dict[str, Mapping[str, str]]:
    groups: dict[str, Mapping[str, str]] = {"apt": image.packages.apt}
    for language, repos in (("python", image.packages.python), ("node", image.packages.node)):
        groups |= {f"{language} {repo}": versions for repo, versions in repos.items()}
    return groups


def _package_changes(
    before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]
) -> list[PackageChange]:
    changes = []
    for group in sorted({*before, *after}):
        old, new = before.get(group, {}), after.get(group, {})
        for package in sorted({*old, *new}):
            if old.get(package) != new.get(package):
                changes.append(PackageChange(group, package, old.get(package), new.get(package)))
    return changes
