"""Removes what owners that died left: their machines first, then their sites. What lives is not touched."""

from __future__ import annotations

from pathlib import Path

from region import machine, netns, owner
from region.errors import RegionError


def sweep(state: Path, runtime: Path) -> list[str]:
    """Ends and removes the machines and sites of `state` and `runtime` whose owner is dead; their names.

    Safe at any time, and beside other sweeps.

    Raises RegionError or OSError when something can't be removed; it is there for the next sweep.
    """
    removed: list[str] = []
    errors: list[RegionError | OSError] = []
    for kind, release in (("machines", machine.release), ("sites", _release_site)):
        for left in owner.abandoned(state.absolute() / kind):
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


def _release_site(record: owner.Record, _directory: Path, _runtime: Path) -> None:
    if record.netns:
        netns.delete(record.netns)
