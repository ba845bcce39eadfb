"""Masked reductions in blocks: the same results at every true size, and no mask on the array."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sod2jax
from sod2jax import _compat
from sod2jax.ir.jaxprs import equations
from sod2jax.schedule import at_edges, edges
from sod2jax.target import Target
from tests.harnesses import all_harnesses, check

N = 64
SIZES = (1, 15, 16, 17, 47, 48, 49, 63, 64)
CPU = Target("cpu")


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small arrays, too, whatever is computed before."""
    monkeypatch.setattr(edges, "WORTH", 0)
    monkeypatch.setattr(edges, "_REUSED", 0)
    monkeypatch.setattr(edges, "_LONG", 0)
    yield


def numbers(spec: str, n: int, dtype: Any) -> Any:
    shape = [n if d.strip() == "n" else int(d) for d in spec.split(",")]
    drawn = 3 * np.random.default_rng(n).normal(size=shape)
    return drawn.astype(dtype)


def run(
    fun: Callable[..., Any],
    *specs: str,
    dtype: Any = np.float32,
    prepare: Callable[[Any], None] = lambda x: None,
) -> tuple[str, int]:
    """Compares at all sizes, poisoned; gives the remarks, and the largest select's lanes."""
    deep, f = (
        sod2jax.optimize(
            fun,
            shapes=specs,
            buckets={"n": (N,)},
            poison=poison,
            tune="none",
            on_unsupported="error",
            audit=False,
        )
        for poison in ("deep", True)  # what poisons values reads them, too
    )
    for n in SIZES:
        args = [numbers(spec, n, dtype) for spec in specs]
        prepare(args[0])
        wanted = jax.tree.leaves(jax.jit(fun)(*args))
        for seen in (f(*args), deep(*args)):
            for a, b in zip(jax.tree.leaves(seen), wanted, strict=True):
                assert (a.shape, a.dtype) == (b.shape, b.dtype)
                if np.dtype(dtype).kind == "i":
                    np.testing.assert_array_equal(a, b)
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    (executable,) = f.planner.specialisations[0].ready
    selects = [e for e in equations(executable.jaxpr) if e.primitive.name == "select_n"]
    largest = max((int(np.prod(e.outvars[0].aval.shape)) for e in selects), default=0)
    return "\n".join(map(str, executable.remarks)), largest


REDUCED = {
    "sum of squares": (lambda x: (x * x + 1).sum(1), "3, n, 2"),
    "sum of exponentials": (lambda x: jnp.exp(-x * x).sum(1), "3, n, 2"),
    "minor axis": (lambda x: jnp.tanh(x + 1).max(-1), "5, n"),
    "major axis": (lambda x: (x + 1).min(0), "n, 5"),
    "both axes": (lambda x: (x + 1).sum((0, 1)), "3, n"),
    "vector": (lambda x: jnp.sum(x + 1), "n"),
    "mean": (lambda x: x.mean(1, keepdims=True), "3, n, 2"),
    "with one lane": (lambda x: (x + x[:, :1] * x[:, :1]).sum(1), "3, n, 2"),
    "with constants": (lambda x: (jnp.arange(2.0)[None, None] * x).sum(1), "3, n, 2"),
}


@pytest.mark.parametrize("name", REDUCED)
def test_reductions_have_their_mask_at_the_edge(name: str) -> None:
    remarks, largest = run(*REDUCED[name])
    assert "in 4 blocks, masked at the edge" in remarks
    assert largest <= 3 * (N // 4) * 2


@pytest.mark.parametrize("fun", [jnp.var, jax.nn.logsumexp], ids=["var", "logsumexp"])
def test_reductions_that_share_a_mask_lose_it_together(fun: Any) -> None:
    remarks, largest = run(lambda x: fun(x, 1), "3, n, 2")
    assert remarks.count("masked at the edge") == 2
    assert largest <= 3 * (N // 4) * 2


def test_a_mask_that_others_read_stays() -> None:
    remarks, largest = run(lambda x: jax.nn.softmax(x, 1), "3, n, 2")
    assert "reduce_max" not in remarks
    assert largest == 3 * N * 2


@pytest.mark.parametrize("dtype", [np.int32, np.int16])
def test_integers_are_equal(dtype: Any) -> None:
    remarks, _ = run(lambda x: (x.sum(1), x.max(1), x.min(1)), "3, n, 2", dtype=dtype)
    assert remarks.count("masked at the edge") == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, -1])
def test_values_that_are_not_finite_reach_their_results(value: float, at: int) -> None:
    def prepare(x: Any) -> None:
        x[1, at, 0] = value

    remarks, _ = run(lambda x: (x * 2).sum(1), "3, n, 2", prepare=prepare)
    assert remarks
    run(lambda x: jnp.exp(x - 1).sum(1), "3, n, 2", prepare=prepare)


def test_pairs_with_a_small_sum_inside() -> None:
    """Each value is read along one axis; that of a pair is summed on the way."""

    def bodies(x: Any) -> Any:
        apart = x[:, None] - x[None]
        return jnp.sum(apart * (jnp.sum(apart**2, -1, keepdims=True) + 0.1) ** -1.5, 1)

    remarks, largest = run(bodies, "n, 3")
    assert "masked at the edge" in remarks
    assert largest <= N * (N // 4) * 3


def test_bodies_of_loops() -> None:
    def scanned(x: Any) -> Any:
        def step(total: Any, k: Any) -> Any:
            return total + (x * k + 1).sum(1), None

        return lax.scan(step, jnp.zeros((3, 2)), jnp.arange(3.0))[0]

    remarks, _ = run(scanned, "3, n, 2")
    assert "masked at the edge" in remarks


def of(fun: Callable[..., Any], *args: Any, target: Target = CPU) -> bool:
    """Whether a static program is changed; it must compute the same."""
    jaxpr = jax.make_jaxpr(fun)(*args)
    new, remarks = at_edges(jaxpr, target)
    assert (new is jaxpr) == (not remarks)
    np.testing.assert_allclose(_compat.function_of(new)(*args)[0], fun(*args), rtol=1e-5)
    return bool(remarks)


X = numbers("3, 64, 2", N, np.float32)


def below(x: Any, n: Any, fill: float) -> Any:
    which = lax.broadcast_in_dim(jnp.arange(N) < n, x.shape, (1,))
    return lax.select(which, x, lax.full(x.shape, fill, x.dtype))


@pytest.mark.parametrize("n", [-3, 0, 1, 16, 40, 64, 90])
def test_any_number_of_lanes(n: int) -> None:
    assert of(lambda x, n: below(x, n, 0).sum(1), X, np.int32(n))


def test_masks_that_do_not_hold_the_identity_stay() -> None:
    assert not of(lambda x, n: below(x, n, 1).sum(1), X, np.int32(40))
    assert not of(lambda x, n: (below(x, n, 0) + 1).sum(1), X, np.int32(40))
    assert not of(lambda x, n: (below(x, n, 0) * x).sum(1), X, np.int32(40))
    assert not of(lambda x, n: below(x, n, 0).max(1), X, np.int32(40))


def test_masks_of_two_sizes_are_not_one() -> None:
    def fun(x: Any, n: Any, m: Any) -> Any:
        return below(below(x, n, 0) + 1, m, 0).sum(1)

    assert of(fun, X, np.int32(40), np.int32(20))
    assert of(fun, X, np.int32(20), np.int32(40))


def test_what_is_not_in_memory_stays_in_the_loop_that_makes_it() -> None:
    def fun(x: Any, n: Any) -> Any:
        y = x * 2
        return below(y, n, 0).sum(1) + y[:, 0]

    assert not of(fun, X, np.int32(40))


def test_other_targets_fuse_masks() -> None:
    assert not of(lambda x, n: below(x, n, 0).sum(1), X, np.int32(4), target=Target("tpu"))


def test_few_lanes_stay() -> None:
    assert edges._block(63) is None and edges._block(61) is None
    assert [edges._block(n) for n in (64, 512, 3000, 8192)] == [16, 32, 100, 128]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(all_harnesses()))
def test_harnesses_equal_jit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges, "LEAST", 2)
    monkeypatch.setattr(edges, "_FEWEST", 2)
    check(all_harnesses()[name])
