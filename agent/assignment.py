"""What this instance is: decided from its tags and its image, or refused. Pure; it never guesses.

On the boot path: imports nothing outside of the agent.
"""

from __future__ import annotations

from agent.errors import AssignmentError
from agent.names import (
    BAKE,
    ENVIRONMENTS,
    MODES,
    SELF_CONTAINED,
    TAG_MODE,
    TAG_RELEASE,
    TAG_SERVICE,
    TAG_STACK,
)
from agent.word import Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.image import Datastore, ImageManifest, Service

_RELEASE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_SHOWN = 60


class Assignment(Word):
    """What the tags say. ``service`` is set exactly in staging and production; ``release`` is for show."""

    mode: str
    service: str | None = None
    release: str | None = None

    @property
    def self_contained(self) -> bool:
        return self.mode in SELF_CONTAINED

    def services(self, image: ImageManifest) -> tuple[Service, ...]:
        """The services that run here, in the image's order."""
        if self.self_contained:
            return tuple(image.services.values())
        return () if self.service is None else (image.services[self.service],)

    def datastores(self, image: ImageManifest) -> tuple[Datastore, ...]:
        """The datastores that run here, in the image's order."""
        return tuple(image.datastores.values()) if self.self_contained else ()

    def facts(self) -> dict[str, object]:
        """As ``status.json`` holds it."""
        return {"mode": self.mode, "service": self.service, "release": self.release}

    def __str__(self) -> str:
        return " ".join(part for part in (self.mode, self.service, self.release) if part is not None)


def lacking(tags: dict[str, str]) -> str | None:
    """The first tag that a decision still needs and that is not there yet, or None."""
    for key in (TAG_STACK, TAG_MODE):
        if key not in tags:
            return key
    return TAG_SERVICE if tags[TAG_MODE] in ENVIRONMENTS and TAG_SERVICE not in tags else None


def decide(tags: dict[str, str], image: ImageManifest, *, instance_id: str) -> Assignment:
    """The assignment that ``tags`` give an instance of ``image``.

    Raises AssignmentError, which names the tag, shows its value, says what is allowed and what to type.
    """
    missing = lacking(tags)
    if missing is not None:
        allowed = {TAG_STACK: image.stack, TAG_MODE: _listed(MODES), TAG_SERVICE: _listed(tuple(image.services))}
        raise _wrong(missing, f"missing; expected {allowed[missing]}", instance_id, _example(missing, image))
    if tags[TAG_STACK] != image.stack:
        raise _wrong(
            TAG_STACK,
            f"this is an image of the stack {image.stack} ({image.name}), the tag says {_shown(tags[TAG_STACK])}",
            instance_id,
            image.stack,
        )
    mode, service = tags[TAG_MODE], tags.get(TAG_SERVICE)
    if mode not in MODES:
        raise _wrong(TAG_MODE, f"expected {_listed(MODES)}, got {_shown(mode)}", instance_id, "review")
    if mode in ENVIRONMENTS and service not in image.services:
        known = _listed(tuple(image.services))
        what = f"{image.name} has no service {_shown(service or '')}; expected {known}"
        raise _wrong(TAG_SERVICE, what, instance_id, _example(TAG_SERVICE, image))
    if mode not in ENVIRONMENTS and service is not None:
        runs = "starts nothing" if mode == BAKE else "runs every service"
        what = f"mode {mode} {runs}, so it takes no such tag, got {_shown(service)}"
        raise AssignmentError(what, where=f"tag {TAG_SERVICE}", hint=_retag("delete-tags", instance_id, TAG_SERVICE))
    return Assignment(mode=mode, service=service, release=_release(tags.get(TAG_RELEASE), instance_id))


def _release(value: str | None, instance_id: str) -> str | None:
    if value is not None and not (1 <= len(value) <= 64 and _RELEASE_CHARACTERS.issuperset(value)):
        what = f"expected up to 64 letters, digits and ._-, got {_shown(value)}"
        raise _wrong(TAG_RELEASE, what, instance_id, "v007")
    return value


def _wrong(tag: str, what: str, instance_id: str, example: str) -> AssignmentError:
    return AssignmentError(what, where=f"tag {tag}", hint=_retag("create-tags", instance_id, f"{tag},Value={example}"))


def _retag(verb: str, instance_id: str, key: str) -> str:
    return f"aws ec2 {verb} --resources {instance_id} --tags Key={key}   then: systemctl restart bakeboot-boot"


def _example(tag: str, image: ImageManifest) -> str:
    return {TAG_STACK: image.stack, TAG_MODE: "review"}.get(tag) or next(iter(image.services), "web")


def _listed(names: tuple[str, ...]) -> str:
    return f"one of {', '.join(names)}" if names else "nothing: it has no services"


def _shown(value: str) -> str:
    """A value as a person can read it and a terminal can bear it: quoted, in ASCII, cut where it is long."""
    return ascii(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!a} and {len(value) - _SHOWN} more"
