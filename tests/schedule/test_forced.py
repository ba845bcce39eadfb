"""Every version is exact wherever it is legal, poisoned in every value, not only where it pays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from sod2jax import schedule
from sod2jax.runtime import versions
from sod2jax.runtime.versions import Chosen
from sod2jax.schedule import Version
from sod2jax.schedule.chunks import Sizes
from tests import harnesses
from tests.harnesses import all_harnesses, check

LAST = "features last"
PLAIN = "plain"
OPTIONS = "ordered for memory and copies by region"

# Of gradients, windows, one lane, complex numbers, and sizes 0.
FEW = (
    "conv_general_dilated_row_grad_per_example",
    "empty_convolution_window",
    "lax_conv_patches",
    "numbers_convolve_itself",
    "numbers_correlate_complex",
    "numbers_strided_kernel_grad",
)


class NotOfferedError(Exception):
    """The program has no such version."""


def forced(name: str, seen: list[Version]) -> Callable[..., Chosen]:
    """A choice that takes the version whose name ends so."""

    def choose(offered: Iterable[Version], tune: str, lower: Any, compiled: Any, *_: Any) -> Chosen:
        _, *others = offered  # the first one is what all other tests run
        version = next((version for version in others if version.name.endswith(name)), None)
        if version is None:
            raise NotOfferedError(name)
        seen.append(version)
        return Chosen(version, compiled(lower(version), version.options))

    return choose


@pytest.fixture
def seen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Version]:
    """The versions that were taken, where a test has a parameter of that name."""
    taken: list[Version] = []
    monkeypatch.setattr(versions, "chosen", forced(request.getfixturevalue("name"), taken))
    return taken


# Of contractions with themselves, masks of positions, sums by rows, gathers, results that are weak.
BY_ROWS = (
    "attention_window",
    "cholesky_exact",
    "gradient_attention",
    "numpy_cov_rows",
    "stats_poisson",
)


@pytest.fixture
def by_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Version]]:
    """Has every program run its values so many rows at a time, however small they are."""
    module = sys.modules["sod2jax.schedule.versions"]
    taken: list[Version] = []

    def force(block: int) -> list[Version]:
        sizes = Sizes(fat=1, least=0, block=block)

        def looped(plain: Version, target: Any) -> Iterator[Version]:
            version = module._by_rows(plain, target, sizes)
            taken.extend([version] if version else [])
            yield version or plain

        monkeypatch.setattr(schedule, "versions", looped)
        return taken

    return force


@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("harness", BY_ROWS)
def test_loops_over_rows_equal_jit(harness: str, block: int, by_rows: Any) -> None:
    taken = by_rows(block)
    check(all_harnesses()[harness])
    assert taken


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("shard", range(harnesses.SHARDS))
@pytest.mark.parametrize("block", [1, 2, 3])
def test_all_loops_equal_jit(block: int, shard: int, by_rows: Any) -> None:
    taken = by_rows(block)
    for harness in harnesses.shard(shard):
        check(harness)
    assert taken


@pytest.mark.parametrize("harness", FEW)
@pytest.mark.parametrize("name", [LAST])
def test_turned_programs_equal_jit(name: str, harness: str, seen: list[Version]) -> None:
    check(all_harnesses()[harness])
    assert seen


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("shard", range(harnesses.SHARDS))
@pytest.mark.parametrize("name", [PLAIN, OPTIONS, LAST])
def test_all_equal_jit(name: str, shard: int, seen: list[Version]) -> None:
    for harness in harnesses.shard(shard):
        try:
            check(harness)
        except NotOfferedError:
            continue
    assert seen or name != OPTIONS  # few programs have the others
