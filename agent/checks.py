"""The services' checks as they are asked on a machine: HTTP from here, ``check`` lines as the service's user."""

from __future__ import annotations

from agent import health
from agent.command import run
from agent.errors import UnitError
from agent.health import CHECK_SECONDS, Answer
from agent.image import Service
from agent.masking import masked, secrets_of
from agent.state import Places


class Checks:
    """Asks services, given the environment of each."""

    def __init__(self, places: Places, variables: dict[str, dict[str, str]]) -> None:
        self._places = places
        self._variables = variables

    def ask(self, services: list[Service]) -> dict[str, Answer]:
        """All of ``services`` at once; by service."""
        return health.ask(services, self._run_check)

    def _run_check(self, service: Service) -> Answer:
        try:
            outcome = run(
                service.check or "true",
                user=service.user,
                directory=self._places.checkout(service.repo),
                environment=self._variables[service.name],
                seconds=CHECK_SECONDS,
            )
        except UnitError as error:
            return Answer(healthy=False, text=error.what)
        if outcome.status == 0:
            return Answer(healthy=True, text="its check passes")
        how = f"no end in {CHECK_SECONDS:g} s" if outcome.status is None else f"exit status {outcome.status}"
        secrets = secrets_of(service, self._variables[service.name])
        last = f": {masked(outcome.lines[-1], secrets)}" if outcome.lines else ""
        return Answer(healthy=False, text=f"its check: {how}{last}")
