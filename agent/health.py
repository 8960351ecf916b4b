"""When a machine is ready: every unit active, every check answered, and so for the settle time without a break.

``Settling`` judges and is pure; ``ask`` is the door: an HTTP request to a web service, the ``check``
command of any other.
"""

from __future__ import annotations

import _socket
import threading
import time
from collections.abc import Callable

from agent.errors import UnhealthyError, UnitError
from agent.image import Service
from agent.systemd import Systemd, UnitState
from agent.word import Word

HTTP_SECONDS = 2.0
"""For a web service to take the connection, and again to answer."""
CHECK_SECONDS = 10.0
"""Until a ``check`` line is told to end; it may take what ``agent/command.py`` gives it to do so."""


class Answer(Word):
    """What a check gave: whether it is what it should be, and how to say it."""

    healthy: bool
    text: str


ACTIVE_IS_ENOUGH = Answer(healthy=True, text="no check of its own")


class _Watched:
    """One service: since when all is well, of which start of it, and its last answer."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.well_since: float | None = None
        self.start: tuple[int, int] = (0, 0)
        self.restarts = 0
        self.said = "nothing yet"
        self.next_ask = 0.0


class Settling:
    """Told what is seen, with the time; says who is to be asked, and whether all have settled."""

    def __init__(self, services: tuple[Service, ...], began: float) -> None:
        self._began = began
        self._watched = {service.name: _Watched(service) for service in services}

    def due(self, now: float) -> list[Service]:
        """The services whose check is to be asked now: each at its own interval."""
        due = [watched for watched in self._watched.values() if now >= watched.next_ask]
        for watched in due:
            watched.next_ask = now + watched.service.health.interval
        return [watched.service for watched in due]

    def observe(self, now: float, states: dict[str, UnitState], answers: dict[str, Answer]) -> None:
        """Take in the units' states (by unit) and the answers of those that were due (by service).

        Raises UnitError for a unit that systemd has given up, UnhealthyError past a service's deadline.
        """
        for watched in self._watched.values():
            self._see(watched, now, states[watched.service.unit], answers.get(watched.service.name))

    def _see(self, watched: _Watched, now: float, state: UnitState, answer: Answer | None) -> None:
        service = watched.service
        logs = f"journalctl -u {service.unit} -n 50"
        if state.active == "failed" or state.load != "loaded":
            raise UnitError(f"the unit is {state}, after {state.restarts} restarts", where=service.name, hint=logs)
        if state.active != "active":
            answer = Answer(healthy=False, text=f"the unit is {state}")
        if (state.restarts, state.started) != watched.start:
            watched.start = (state.restarts, state.started)
            watched.restarts = state.restarts
            watched.well_since = None
        if answer is not None:
            watched.said = answer.text
            if not answer.healthy:
                watched.well_since = None
            elif watched.well_since is None:
                watched.well_since = now
        if now - self._began > service.health.deadline and not self._settled(watched, now):
            again = f", {watched.restarts} restarts" if watched.restarts else ""
            raise UnhealthyError(
                f"not healthy within {service.health.deadline:g} s; the last answer: {watched.said}{again}",
                where=service.name,
                hint=logs,
            )

    def _settled(self, watched: _Watched, now: float) -> bool:
        return watched.well_since is not None and now - watched.well_since >= watched.service.health.settle

    def settled(self, now: float) -> bool:
        return all(self._settled(watched, now) for watched in self._watched.values())

    def pause(self, now: float) -> float:
        """Seconds until the next check is due; what has settled by then is seen then."""
        moments = [watched.next_ask for watched in self._watched.values()]
        return max(0.01, min(moments, default=now) - now)

    def waiting_for(self, now: float) -> str:
        """Who has not settled, and what each said last."""
        return ", ".join(f"{w.service.name} ({w.said})" for w in self._watched.values() if not self._settled(w, now))


def settle(
    services: tuple[Service, ...],
    *,
    systemd: Systemd,
    ask: Callable[[list[Service]], dict[str, Answer]],
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Wait until all ``services`` have settled. Raises what ``Settling.observe`` raises."""
    settling = Settling(services, monotonic())
    while True:
        answers = ask(settling.due(monotonic()))
        states = systemd.show([service.unit for service in services])
        now = monotonic()
        settling.observe(now, states, answers)
        if settling.settled(now):
            return
        systemd.progress(f"waiting for health: {settling.waiting_for(now)}")
        sleep(settling.pause(now))


def ask(services: list[Service], run_check: Callable[[Service], Answer]) -> dict[str, Answer]:
    """Ask all of ``services`` at once; by service.

    It takes as long as the slowest: a web service up to twice HTTP_SECONDS, a ``check`` line CHECK_SECONDS and then
    ``command.KILL_AFTER`` and ``command.GRACE``.
    """
    answers: dict[str, Answer] = {}

    def ask_one(service: Service) -> None:
        answers[service.name] = _ask(service, run_check)

    threads = [threading.Thread(target=ask_one, args=(service,), daemon=True) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _ask(service: Service, run_check: Callable[[Service], Answer]) -> Answer:
    if service.health.path is not None and service.port is not None:
        return http_answer(service.port, service.health.path, service.health.status)
    return ACTIVE_IS_ENOUGH if service.check is None else run_check(service)


def http_answer(port: int, path: str, expected: int, *, seconds: float = HTTP_SECONDS) -> Answer:
    """What a GET of ``path`` from this machine gives. A redirect is an answer like any other, never followed.

    ``seconds``: for the connection, and again for the answer.
    """
    until = time.monotonic() + seconds
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(("127.0.0.1", port))
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bakeboot\r\nConnection: close\r\n\r\n".encode()
        )
        line = b""
        while b"\r\n" not in line and len(line) < 1024 and (data := connection.recv(1024)):
            line += data
            connection.settimeout(max(0.001, until - time.monotonic()))
    except TimeoutError:
        return Answer(healthy=False, text=f"GET {path} on port {port}: no answer in {seconds:g} s")
    except OSError as error:
        return Answer(healthy=False, text=f"GET {path} on port {port}: {error.strerror or error}")
    finally:
        connection.close()
    words = line.split(b"\r\n")[0].decode("latin-1").split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        return Answer(healthy=False, text=f"GET {path} on port {port}: no HTTP")
    wanted = "" if int(words[1]) == expected else f", expected {expected}"
    return Answer(healthy=not wanted, text=f"GET {path} on port {port}: {words[1]}{wanted}")
