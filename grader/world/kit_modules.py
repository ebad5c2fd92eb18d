"""The kit's own copies of service modules: the learner may have changed the ones in the workspace."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any


def kit_module(ws: Any, name: str) -> ModuleType:
    """service/NAME.py of the kit, imported under a name of its own."""
    path = ws.kit.root / "service" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"kit_{name}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
