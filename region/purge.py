"""Forgetting the images that were made in a region: they lie in its folder, and outlive it until somebody says so."""

from __future__ import annotations

import shutil
from pathlib import Path

from region.errors import RegionError
from region.region_state import Place


def images_of(directory: Path) -> list[str]:
    """The ids of the images in a region's folder."""
    folder = directory / "images"
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def forget_images(place: Place) -> None:
    """Removes them. Raises RegionError while the region is up."""
    held = place.take()
    if held is None:
        raise RegionError("it is up again, and its images with it", where=f"region {place.name}")
    shutil.rmtree(place.directory / "images", ignore_errors=True)
