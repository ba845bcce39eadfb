"""Settings that every test relies on; some must be in place before JAX is imported."""

from __future__ import annotations

import gc
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
    """Skips tests marked `gpu` where JAX has no GPU."""
    needs_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not needs_gpu or jax.default_backend() == "gpu":
        return
    for item in needs_gpu:
        item.add_marker(pytest.mark.skip(reason="needs a GPU"))
