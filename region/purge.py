"""Forgetting the images that were made in a region: they outlive it until somebody says so."""

from __future__ import annotations

import shutil

from region.aws.image_store import ImageStore
from region.errors import RegionError
from region.region_state import Place


def images_of(place: Place) -> list[dict[str, str]]:
    """The AMIs in a region's folder, the oldest first: `id`, `name`, `created`. Not those that are local images."""
    records = [record for record in ImageStore(place.directory).load() if not record.local]
    records.sort(key=lambda record: record.created)
    return [{"id": one.image_id, "name": one.name, "created": one.created} for one in records]


def forget_images(place: Place) -> None:
    """Removes them, and what was changed of local images. Raises RegionError while the region is up."""
    with place.held() as held:
        if not held:
            raise RegionError("it is up, and its images are in use", where=f"region {place.name}")
        shutil.rmtree(ImageStore(place.directory).directory, ignore_errors=True)
