"""What processes that the bench starts have around them."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path


def environment() -> dict[str, str]:
    """This environment, with this copy of sod2jax importable and no compilation cache on disk."""
    given = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    root = str(Path(__file__).resolve().parents[2])
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        given["PYTHONPATH"] = os.pathsep.join(paths)
    return given
