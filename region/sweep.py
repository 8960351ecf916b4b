"""Removes what owners that died left: machines first, then sites and load balancers. What lives is not touched."""

from __future__ import annotations

from pathlib import Path

from region import machine, netns, owner
from region.balancer import haproxy
from region.errors import RegionError


def sweep(state: Path, runtime: Path) -> list[str]:
    """Ends and removes the machines, sites and load balancers of `state` whose owner is dead; their names.

    Safe at any time, and beside other sweeps.

    Raises RegionError or OSError when something can't be removed; it is there for the next sweep.
    """
    removed: list[str] = []
    errors: list[RegionError | OSError] = []
    state = state.absolute()
    balancers = [(folder, _release_balancer) for folder in state.glob("regions/*/balancers")]
    for parent, release in ((state / "machines", machine.release), (state / "sites", _release_site), *balancers):
        for left in owner.abandoned(parent):
            try:
                release(left.record, left.directory, runtime)
                left.remove()
                removed.append(left.directory.name)
            except (RegionError, OSError) as error:  # the others are swept all the same
                errors.append(error)
            finally:
                left.release()
    if errors:
        raise errors[0]
    return removed


def _release_balancer(record: owner.Record, _directory: Path, _runtime: Path) -> None:
    haproxy.release(record)


def _release_site(record: owner.Record, _directory: Path, _runtime: Path) -> None:
    if record.netns:
        netns.delete(record.netns)
