"""Removes what owners that died left: machines, sites, load balancers, and a region's storage. What lives is kept."""

from __future__ import annotations

import contextlib
from pathlib import Path

from region import machine, netns, owner
from region.aws.image_store import leftovers, remove
from region.balancer import haproxy
from region.errors import RegionError
from region.region_state import Place


def sweep(state: Path, runtime: Path) -> list[str]:
    """Ends and removes the machines, sites and load balancers of `state` whose owner is dead; their names.

    Also what a region keeps only while it is up: the storage of its instances, AMIs half made, its token.

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
    for folder in state.glob("regions/*"):
        removed += _storage(state, folder)
    if errors:
        raise errors[0]
    return removed


def _storage(state: Path, region: Path) -> list[str]:
    """Removes it where no process holds the region; machines that stood on it have been ended by now."""
    with contextlib.suppress(RegionError):  # the name is no region's
        place = Place(state, region.name)
        if place.is_alive() or not (leftovers(region) or place.written):
            return []
        with place.held() as held:
            found = leftovers(region) if held else []
            for folder in found:
                remove(folder)
            if held:
                place.forget()
            return [f"{region.name}/{folder.name}" for folder in found]
    return []


def _release_balancer(record: owner.Record, _directory: Path, _runtime: Path) -> None:
    haproxy.release(record)


def _release_site(record: owner.Record, _directory: Path, _runtime: Path) -> None:
    if record.netns:
        netns.delete(record.netns)
