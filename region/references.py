"""What the regions of a home stand on: the layers that may not go while an AMI or an instance of one uses them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from region.aws.image_store import references as of_images
from region.client import RegionClient
from region.errors import RegionError
from region.region_state import Place, places


def references(home: Path) -> Mapping[Path, str]:
    """Each such layer (its folder), and why it is needed. A region that is down still has the AMIs made in it.

    Raises RegionError where one is neither up nor down: it can't be asked.
    """
    found: dict[Path, str] = {}
    for place in places(home):
        for path in _of(place):
            found.setdefault(path.resolve(), f"region {place.name} has an AMI or an instance that stands on it")
    return found


def _of(place: Place) -> list[Path]:
    if record := place.read():
        return RegionClient(place, record).references()
    if place.is_alive():
        what = "is coming up or going down, and can't say what it stands on"
        raise RegionError(what, where=f"region {place.name}", hint="again in a moment")
    return of_images(place.directory)
