"""Loads a file of the example stack, whose directories are repos and no packages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"


def load(path: str) -> Any:
    """The module in a file below ``examples/shop``, under a name that no other module has."""
    name = "shop_" + path.removesuffix(".py").replace("/", "_").replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, SHOP / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
