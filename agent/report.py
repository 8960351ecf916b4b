"""What an instance is and how it does, for a person and for a program: ``agent status`` and ``agent explain``.

``look`` gathers it, the rest is pure.
"""

from __future__ import annotations

from collections.abc import Callable

from agent import state
from agent.environment import Checkout
from agent.errors import BakebootError
from agent.health import Answer
from agent.image import ImageManifest, Service
from agent.names import BAKE, ENVIRONMENTS
from agent.state import Places
from agent.systemd import Systemd, UnitState
from agent.word import Word

EXIT_NOT_READY = 3
"""Of ``agent status`` when the machine is not (or no longer) what its tags want. 0: it is."""


class UnitReport(Word):
    """One unit: what it is of, how systemd and its check find it, and which commit it runs (None: a datastore)."""

    unit: str
    name: str
    active: bool
    systemd: str
    restarts: int
    healthy: bool | None
    answer: str
    repo: str | None
    commit: str | None


class Report(Word):
    """The facts of ``status.json``, and each unit as it is now."""

    facts: dict[str, object]
    image: ImageManifest
    units: tuple[UnitReport, ...]

    @property
    def phase(self) -> str:
        return str(self.facts.get("phase", "none"))

    @property
    def mode(self) -> str | None:
        return self._of_assignment("mode")

    @property
    def service(self) -> str | None:
        return self._of_assignment("service")

    @property
    def release(self) -> str | None:
        return self._of_assignment("release")

    def _of_assignment(self, key: str) -> str | None:
        assignment = self.facts.get("assignment")
        value = assignment.get(key) if isinstance(assignment, dict) else None
        return value if isinstance(value, str) else None

    @property
    def ready(self) -> bool:
        """Whether the boot came to its end, and all is still as it was then."""
        well = all(unit.active and unit.healthy is not False for unit in self.units)
        return self.phase in ("ready", "idle") and well

    @property
    def exit_code(self) -> int:
        return 0 if self.ready else EXIT_NOT_READY


def look(
    places: Places,
    systemd: Systemd,
    ask: Callable[[list[Service]], dict[str, Answer]],
    checkout: Callable[[str], Checkout],
) -> Report:
    """What the boot wrote, and what the units are now."""
    image = ImageManifest.read(places.image)
    facts = state.read_object(places.status)
    listed = facts.get("units")
    units = [unit for unit in listed if isinstance(unit, str)] if isinstance(listed, list) else []
    states = systemd.show(units)
    services = {service.unit: service for service in image.services.values()}
    answers = ask([services[unit] for unit in units if unit in services and states[unit].active == "active"])
    return Report(
        facts=facts,
        image=image,
        units=tuple(_unit(states[unit], services.get(unit), answers, checkout) for unit in units),
    )


def _unit(
    state: UnitState, service: Service | None, answers: dict[str, Answer], checkout: Callable[[str], Checkout]
) -> UnitReport:
    answer = answers.get(service.name) if service is not None else None
    return UnitReport(
        unit=state.unit,
        name=service.name
        if service is not None
        else state.unit.removeprefix("bakeboot-data-").removesuffix(".service"),
        active=state.active == "active",
        systemd=str(state),
        restarts=state.restarts,
        healthy=answer.healthy if answer is not None else None,
        answer=answer.text if answer is not None else "",
        repo=service.repo if service is not None else None,
        commit=_commit(service.repo, checkout) if service is not None else None,
    )


def _commit(repo: str, checkout: Callable[[str], Checkout]) -> str | None:
    try:
        return checkout(repo).commit
    except BakebootError:
        return None


def as_json(report: Report) -> dict[str, object]:
    """What ``agent status --json`` prints."""
    return {
        "ready": report.ready,
        "phase": report.phase,
        "reason": report.facts.get("reason", ""),
        "hint": report.facts.get("hint", ""),
        "exit_code": report.facts.get("exit_code", 0),
        "instance_id": report.facts.get("instance_id"),
        "stack": report.image.stack,
        "image": report.image.name,
        "mode": report.mode,
        "service": report.service,
        "release": report.release,
        "since": report.facts.get("since"),
        "timings": report.facts.get("timings", {}),
        "units": [{field: getattr(unit, field) for field in unit.__fields__} for unit in report.units],
    }


def as_text(report: Report) -> str:
    """What ``agent status`` prints."""
    what = " ".join(part for part in (report.mode or "no assignment", report.service, report.release) if part)
    lines = [
        f"{report.image.stack} {what}: {report.phase} since {report.facts.get('since', '?')}",
        f"image {report.image.name} on {report.facts.get('instance_id') or 'an unknown instance'}",
    ]
    if report.facts.get("reason"):
        lines.append(f"{report.facts['reason']}")
    if report.facts.get("hint"):
        lines.append(f"  try   {report.facts['hint']}")
    width = max((len(unit.name) for unit in report.units), default=0)
    for unit in report.units:
        commit = f"{unit.repo}@{unit.commit[:12]}  " if unit.commit and unit.repo else ""
        again = f"  {unit.restarts} restarts" if unit.restarts else ""
        lines.append(f"  {unit.name:{width}}  {unit.systemd}  {commit}{unit.answer}{again}".rstrip())
    return "\n".join(lines)


def explained(report: Report) -> str:
    """What ``agent explain`` prints: what the tags said, what follows from it, what is wrong, what to do next."""
    return " ".join([*_decision(report), *_course(report)])


def _decision(report: Report) -> list[str]:
    image, mode = report.image, report.mode
    sentences = [f"This is {report.facts.get('instance_id') or 'an instance'}, of image {image.name} ({image.stack})."]
    if mode is None:
        return [*sentences, "Its boot has not come to an assignment, so it runs nothing."]
    if mode == BAKE:
        return [*sentences, "Its tags say mode bake: it is a build machine, and starts nothing."]
    if mode in ENVIRONMENTS:
        release = f" (release {report.release})" if report.release else ""
        why = "so it runs that one service, and no datastore: its config says where those are."
        return [*sentences, f"Its tags say mode {mode}, service {report.service}{release}, {why}"]
    counts = f"all {len(image.services)} services and {len(image.datastores)} datastores of the image"
    return [*sentences, f"Its tags say mode {mode}, which is self-contained, so it runs {counts}."]


def _course(report: Report) -> list[str]:
    """How the boot went, and how things are now."""
    since = report.facts.get("since", "?")
    wrong = [unit for unit in report.units if not unit.active or unit.healthy is False]
    if report.phase == "failed":
        sentences = [f"Its boot failed at {since}: {report.facts.get('reason')}."]
    elif report.phase == "ready":
        sentences = [f"Since {since} it is ready."]
    elif report.phase in ("idle", "none"):
        sentences = [] if report.phase == "idle" else ["The agent has not run since this machine started."]
    else:
        sentences = [f"Its boot is under way, in the phase {report.phase} since {since}."]
    if report.phase in ("ready", "failed"):
        for unit in wrong:
            said = f", {unit.answer}" if unit.answer else ""
            sentences.append(f"{unit.name} is not well: {unit.systemd}{said}.")
    hint = report.facts.get("hint") or (f"journalctl -u {wrong[0].unit} -n 50" if wrong else "")
    if report.phase == "none":
        hint = "systemctl status bakeboot-boot"
    return [*sentences, f"\nNext: {hint}"] if hint else sentences
