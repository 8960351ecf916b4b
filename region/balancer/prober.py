"""Asks targets how they are: one thread inside the site's namespace, one connection for each check."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from region import netns
from region.balancer.health import Answered, Failed, Outcome, TimedOut


@dataclass(frozen=True)
class Probe:
    """Where to ask for what, how often and for how long to wait, both in seconds."""

    address: str
    port: int
    path: str
    interval: float
    timeout: float


class Prober(Protocol):
    """What asks: the real one, or a fake that a test answers for."""

    def watch(self, probes: Mapping[str, Probe]) -> None:
        """From now on these are asked, by key, the new ones at once; and no others."""

    def outcomes(self) -> list[tuple[str, Outcome]]:
        """What was heard since the last call."""

    def close(self) -> None:
        """No more is asked. Twice is no error."""


class NamespaceProber:
    """The real one. `heard` is called, on another thread, when there is an outcome."""

    def __init__(self, site: str | None, heard: Callable[[], None]) -> None:
        self._site, self._heard = site, heard
        self._results: queue.SimpleQueue[tuple[str, Outcome]] = queue.SimpleQueue()
        self._tasks: dict[str, tuple[Probe, asyncio.Task[None]]] = {}
        self._wanted: Mapping[str, Probe] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="balancer-prober", daemon=True)
        self._thread.start()

    def watch(self, probes: Mapping[str, Probe]) -> None:
        if probes != self._wanted:
            self._wanted = dict(probes)
            self._loop.call_soon_threadsafe(self._follow, self._wanted)

    def outcomes(self) -> list[tuple[str, Outcome]]:
        heard = []
        with contextlib.suppress(queue.Empty):
            while True:
                heard.append(self._results.get_nowait())
        return heard

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        try:
            netns.enter(self._site)
            self._loop.run_forever()
            self._follow({})
            self._loop.run_until_complete(_all_ended())
        finally:
            self._loop.close()

    def _follow(self, probes: Mapping[str, Probe]) -> None:
        for key, (probe, task) in list(self._tasks.items()):
            if probes.get(key) != probe:
                task.cancel()
                del self._tasks[key]
        for key in probes.keys() - self._tasks.keys():
            self._tasks[key] = probes[key], self._loop.create_task(self._again_and_again(key, probes[key]))

    async def _again_and_again(self, key: str, probe: Probe) -> None:
        """AWS: how long a target takes to answer doesn't move the next check. What a stall missed is not made."""
        due = self._loop.time()
        while True:
            outcome = await ask(probe)
            self._results.put((key, outcome))
            self._heard()
            due = max(due + probe.interval, self._loop.time())
            await asyncio.sleep(due - self._loop.time())


async def _all_ended() -> None:
    """Of the tasks that were cancelled, so that their connections are closed."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


async def ask(probe: Probe) -> Outcome:
    """One check: its own connection, closed after the status line, as AWS does."""
    try:
        async with asyncio.timeout(probe.timeout):
            reader, writer = await asyncio.open_connection(probe.address, probe.port)
            try:
                writer.write(
                    f"GET {probe.path} HTTP/1.1\r\nHost: {probe.address}:{probe.port}\r\nConnection: close\r\n"
                    "User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n".encode()
                )
                return status_of(await reader.readline())
            finally:
                writer.close()
    except TimeoutError:
        return TimedOut()
    except (OSError, ValueError):  # ValueError: a first line without an end
        return Failed()


def status_of(line: bytes) -> Outcome:
    """What the first line of an answer says."""
    words = line.split(None, 2)
    if len(words) >= 2 and words[0].startswith(b"HTTP/1.") and len(words[1]) == 3 and words[1].isdigit():
        return Answered(int(words[1]))
    return Failed()
