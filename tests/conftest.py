"""Settings that every test relies on; some must be in place before JAX is imported."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"

# models/ and bench/ are not part of the installed package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# What earlier runs chose is not asked for.
os.environ["SOD2JAX_CACHE_DIR"] = tempfile.mkdtemp(prefix="sod2jax-")

import hypothesis
import jax
import pytest

from tests import quick

jax.config.update("jax_numpy_rank_promotion", "raise")

# "fast" or "thorough": how many examples to generate, and whether to compile as users do.
PROFILE = os.environ.get("TEST_PROFILE", "fast")
if PROFILE == "fast":
    flags = [f"--{name}={str(value).lower()}" for name, value in quick.FLAGS.items()]
    os.environ.setdefault("XLA_FLAGS", " ".join(flags))
    jax.config.update("jax_disable_most_optimizations", True)

# Markers of tests that compile for a device that is not there, and the package that does.
AHEAD_OF_TIME = {"cuda_aot": "jax_cuda12_plugin", "tpu_aot": "libtpu"}

hypothesis.settings.register_profile("fast", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=300)
hypothesis.settings.load_profile(PROFILE)


@pytest.fixture(autouse=True)
def _optimisation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Has XLA optimise what tests marked `optimised` compile."""
    if not request.node.get_closest_marker("optimised"):
        yield
        return
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def pytest_collection_finish() -> None:
    """Collects garbage less often, and never looks at what lives as long as the session."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests of devices, and of compilers for devices, that are not there."""
    for name, package in AHEAD_OF_TIME.items():
        if importlib.util.find_spec(package) is None:
            _skip(items, name, f"{package} is not installed: `make test-aot` installs it")
    if any(i.get_closest_marker("gpu") for i in items) and jax.default_backend() != "gpu":
        _skip(items, "gpu", "needs a GPU")


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))
