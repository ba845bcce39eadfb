"""Which version of a program was chosen, kept on disk for other processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jaxlib.version
import platformdirs

from sod2jax.target import Target

_VERSION = 1  # of the files
DIRECTORY_VARIABLE = "SOD2JAX_CACHE_DIR"


def directory() -> Path:
    """Where choices are kept: ``$SOD2JAX_CACHE_DIR``, or else the user's cache directory."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    return Path(given) if given else Path(platformdirs.user_cache_dir("sod2jax"))


def key_of(text: str, target: Target, tune: str) -> str:
    """Names a program on a kind of machine, for one version of the compiler.

    Args:
      text: the lowered program.
      target: what it is compiled for.
      tune: how it is tuned.
    """
    machine = (target.platform, target.kind, platform.machine(), str(os.cpu_count()))
    compiler = (jax.__version__, jaxlib.version.__version__)
    parts = (str(_VERSION), tune, *machine, *compiler, text)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def stored(key: str) -> Mapping[str, Any] | None:
    """What was stored under a key; None if there is nothing that can be read."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((directory() / f"{key}.json").read_text())
        return found if isinstance(found, dict) else None
    return None


def store(key: str, choice: Mapping[str, Any]) -> None:
    """Stores a choice; a directory that cannot be written to is of no matter."""
    with contextlib.suppress(OSError):
        directory().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=directory(), delete=False) as file:
            json.dump(choice, file)
        try:
            os.replace(file.name, directory() / f"{key}.json")
        except OSError:
            os.unlink(file.name)
