"""A region as a program uses it: where it answers, and its control (`region.control`), over plain HTTP.

region = RegionClient.open(Path("/var/lib/bakeboot-home"), "local")
subprocess.run(command, env={**os.environ, **region.environment()})
region.interrupt("i-0123456789abcdef0", notice=120)
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from region.control import PREFIX, TOKEN_HEADER
from region.errors import RegionError
from region.faults import Faults, faults_to
from region.region_state import DEFAULT_NAME, Place, Record

_TIMEOUT = 30.0  # seconds; nothing that is asked waits for a machine


class RegionClient:
    """One region that is up. Every method raises RegionError: with the region's own words, or when it is not up.

    An instance may be given by the beginning of its id, where that says which.
    """

    def __init__(self, place: Place, record: Record) -> None:
        self.place = place
        self.record = record

    @classmethod
    def open(cls, home: Path, name: str = DEFAULT_NAME) -> RegionClient:
        """The region of that name in a home (`$BAKEBOOT_HOME`). Raises RegionError when it is not up."""
        place = Place(home, name)
        return cls(place, place.up())

    @property
    def endpoint(self) -> str:
        """The API's URL, the same on this host and in the region's machines."""
        return self.record.endpoint

    def environment(self) -> dict[str, str]:
        """The variables with which any AWS client uses this region."""
        return {
            "AWS_ENDPOINT_URL": self.record.endpoint,
            "AWS_DEFAULT_REGION": self.record.aws_region,
            "AWS_REGION": self.record.aws_region,
            "AWS_ACCESS_KEY_ID": self.record.access_key,
            "AWS_SECRET_ACCESS_KEY": self.record.secret_key,
        }

    def status(self) -> dict[str, Any]:
        """What there is now: instances, groups, load balancers, faults, images (docs/region.md names the fields)."""
        told: dict[str, Any] = self._ask("GET", "status")
        return told

    def interrupt(self, instance: str, notice: float = 120.0, *, rebalance: bool = False) -> str:
        """Ends a spot instance as AWS does: the notice in its metadata first, `notice` seconds later the end.

        `rebalance`: its metadata recommends a rebalance, and nothing more. Returns the instance's whole id.
        """
        path = f"instances/{quote(instance, safe='')}/interrupt"
        return str(self._ask("POST", path, {"notice": notice, "rebalance": rebalance}))

    def kill_machine(self, instance: str) -> str:
        """Ends its machine as a power cut does, and tells the API nothing. Returns the instance's whole id."""
        return str(self._ask("POST", f"instances/{quote(instance, safe='')}/kill"))

    def console(self, instance: str) -> str:
        """The last 64 KiB of what its machines wrote to their consoles."""
        return str(self._ask("GET", f"instances/{quote(instance, safe='')}/console"))

    def fault_metadata(self, instance: str, faults: Faults) -> str:
        """From now on this is wrong with its metadata service, and nothing else; `Faults()` lifts everything."""
        path = f"instances/{quote(instance, safe='')}/metadata"
        return str(self._ask("PUT", path, faults_to(faults)))

    def fault_api(self, calls: str, kind: str, **plan: Any) -> str:
        """Something goes wrong with calls of the API; returns the fault's id.

        `calls` is `ec2:RunInstances` or a pattern; `kind` and the further fields are those of
        `region.aws.api_faults.ApiFault` (`for` as `lasts`).
        """
        if "lasts" in plan:
            plan["for"] = plan.pop("lasts")
        return str(self._ask("POST", "faults", {"calls": calls, "kind": kind, **plan}))

    def faults(self) -> list[dict[str, Any]]:
        """Every fault in force, of the API and of metadata."""
        told: list[dict[str, Any]] = self._ask("GET", "faults")
        return told

    def clear_faults(self, fault: str | None = None) -> list[str]:
        """Ends one fault by its id (an instance's id for its metadata), or all; returns which."""
        path = "faults" if fault is None else f"faults/{quote(fault, safe='')}"
        told: list[str] = self._ask("DELETE", path)
        return told

    def settings(self, **changes: float) -> dict[str, Any]:
        """Changes settings (`tags_delay`, `launch_delay`; seconds), and returns all."""
        told: dict[str, Any] = self._ask("PUT", "settings", changes)
        return told

    def references(self) -> list[Path]:
        """The layers that its images and instances stand on."""
        return [Path(path) for path in self._ask("GET", "references")]

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        address = urlsplit(self.record.endpoint)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=_TIMEOUT)
        try:
            headers = {TOKEN_HEADER: self.record.token, "Content-Type": "application/json"}
            connection.request(method, PREFIX + path, json.dumps(body or {}), headers)
            response = connection.getresponse()
            told = json.loads(response.read() or b"null")
        except (OSError, http.client.HTTPException, ValueError) as error:
            hint = f"bakeboot region logs{self.place.option}"
            what = f"does not answer at {self.record.endpoint}: {error}"
            raise RegionError(what, where=f"region {self.place.name}", hint=hint) from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            fields = told if isinstance(told, dict) else {}
            what = str(fields.get("what") or f"answered {response.status} {response.reason}")
            where = str(fields.get("where") or f"region {self.place.name}")
            raise RegionError(what, where=where, hint=str(fields.get("hint", "")))
        return told
