"""Rows of another length by slices: the same elements as a reshape, at every true size."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.region import Region
from sod2jax.rewrite import moves
from sod2jax.rewrite.padded import Padded, constant_fill
from sod2jax.rewrite.restride import restride
from sod2jax.rewrite.sizes import Sizes
from sod2jax.target import Target

T, U = dims.parse("t"), dims.parse("u")
MOST = {"t": 9, "u": 4}
REGION = Region(tuple((name, 1, size) for name, size in MOST.items()))

# ([c, d], [e, f]), and (p, q, r).
CASES = [
    (((T, 2 * T), (2 * T, T)), (2, 1, 0)),  # the shift of relative attention, and its transpose
    (((2 * T - 1, T), (T, 2 * T - 1)), (1, 2, -1)),
    (((T, 2 * T - 1), (2 * T - 1, T)), (2, 1, 1)),
    (((2 * T, T), (T, 2 * T)), (1, 2, 0)),
    (((T, T + 1), (T + 1, T)), (1, 1, -1)),
    (((T + 1, T), (T, T + 1)), (1, 1, 1)),
    (((T + 2, T), (T, T + 2)), (1, 1, 2)),
    (((T, T + 2), (T + 2, T)), (1, 1, -2)),
    (((1, 3 * T), (3, T)), (3, 1, 0)),
    (((4, T), (1, 4 * T)), (1, 4, 0)),
    (((U, 2 * T), (2 * U, T)), (2, 1, 0)),
    (((2 * U, 3 * T), (3 * U, 2 * T)), (3, 2, 0)),
    (((2 * T, 3), (3 * T, 2)), (3, 2, 0)),
]


def moved(old: Any, new: Any, true: dict[str, int], around: bool = False) -> tuple[Any, Any]:
    """(the true corner of what was moved, what it must hold); pad lanes hold NaN before."""
    names = sorted(true)
    shape = [int(dims.evaluate(d, true)) for d in old]
    head, tail = ((2,), (3,)) if around else ((), ())
    elements = np.random.default_rng(0).normal(size=(*head, *shape, *tail)).astype(np.float32)
    full = Sizes(MOST, REGION).sizes(old)
    array = np.full((*head, *full, *tail), np.nan, np.float32)
    array[tuple(map(slice, elements.shape))] = elements

    def run(vector: Any, array: Any) -> Any:
        sizes = Sizes(dict(zip(names, vector, strict=True)), REGION)
        how = restride(sizes, old, new)
        assert how is not None
        return how.apply(sizes, array, len(head), np.float32(7))

    seen = jax.jit(run)(np.array([true[n] for n in names], np.int32), array)
    want = elements.reshape(*head, *(int(dims.evaluate(d, true)) for d in new), *tail)
    assert seen.shape == (*head, *Sizes(MOST, REGION).sizes(new), *tail)
    return np.asarray(seen)[tuple(map(slice, want.shape))], want


@pytest.mark.parametrize(("shapes", "steps"), CASES)
def test_elements_keep_their_order(shapes: Any, steps: tuple[int, int, int]) -> None:
    how = restride(Sizes(MOST, REGION), *shapes)
    assert how is not None and (how.p, how.q, how.r) == steps
    for t in range(1, MOST["t"] + 1):
        for around in (False, True):
            np.testing.assert_array_equal(*moved(*shapes, {"t": t, "u": 1 + t % 4}, around))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((1, T * U), (T, U)),  # a row of u for each of t
        ((T, 10 * T), (10 * T, T)),  # more rows than a few
        ((T * (T + 3), T), (T, T * (T + 3))),
        ((9 * U + 1, T), (T, 9 * U + 1)),
    ],
)
def test_other_lengths_are_left_to_a_gather(old: Any, new: Any) -> None:
    assert restride(Sizes(MOST, REGION), old, new) is None


def primitives(
    value: Padded, start: int, stop: int, shape: Any, fuses_gathers: bool = False
) -> tuple[set[str], Padded]:
    out: list[Padded] = []

    def run(t: Any, array: Any) -> Any:
        sizes = Sizes({"t": t, "u": jnp.int32(2)}, REGION)
        given = Padded(array, value.extents, value.fills, value.constant)
        out.append(moves.relayout(sizes, given, start, stop, shape, fuses_gathers))
        return out[-1].array

    jaxpr = jax.make_jaxpr(run)(np.int32(3), value.array)
    run(np.int32(3), value.array)
    names = {eqn.primitive.name for eqn in equations(jaxpr)}
    return names, out[-1]


@pytest.mark.parametrize("fill", [0, -np.inf, 1])
def test_what_is_known_of_other_axes_holds_in_new_lanes(fill: float) -> None:
    full = np.full((4, 9, 18), fill, np.float32)
    full[:2, :3, :6] = 5
    value = Padded(jnp.asarray(full), ((U,), (T,), (2 * T,)), {0: constant_fill(fill)})
    names, out = primitives(value, 1, 3, (2 * T, T))
    assert "gather" not in names
    assert out.fills == {0: constant_fill(fill)}
    assert (np.asarray(out.array)[2:] == fill).all()
    assert (np.asarray(out.array)[:2, :6, :3] == 5).all()


def test_two_fills_or_keys_are_gathered() -> None:
    fills = {0: constant_fill(0), 3: constant_fill(1)}
    value = Padded(jnp.zeros((4, 9, 18, 4)), ((U,), (T,), (2 * T,), (U,)), fills)
    assert "gather" in primitives(value, 1, 3, (2 * T, T))[0]
    keys = jax.random.split(jax.random.key(0), (9, 18))
    assert "gather" in primitives(Padded(keys, ((T,), (2 * T,))), 0, 2, (2 * T, T))[0]


def test_a_constant_stays_one() -> None:
    value = Padded(jnp.full((9, 18), 3.0), ((T,), (2 * T,)), constant=3.0)
    _, out = primitives(value, 0, 2, (2 * T, T))
    assert out.constant == 3.0 and (np.asarray(out.array) == 3).all()


def test_gathers_that_cost_no_memory_stay_where_rows_are_joined() -> None:
    value = Padded(jnp.zeros((9, 18)), ((T,), (2 * T,)))
    assert "gather" not in primitives(value, 0, 2, (2 * T, T), fuses_gathers=True)[0]
    shift = Padded(jnp.zeros((17, 9)), ((2 * T - 1,), (T,)))
    assert "gather" in primitives(shift, 0, 2, (T, 2 * T - 1), fuses_gathers=True)[0]
    assert "gather" not in primitives(shift, 0, 2, (T, 2 * T - 1))[0]


def shifted(x: Any) -> Any:
    """The shift of relative attention: [h, t, 2t - 1] to [h, t, t], and its use."""
    heads, t, _ = x.shape
    wide = jnp.pad(x, ((0, 0), (0, 0), (1, 0))).reshape(heads, 2 * t, t)
    return jax.nn.softmax(wide[:, 1:].reshape(heads, t, 2 * t - 1)[:, :, :t], -1)


def halves(x: Any) -> Any:
    return x.reshape(x.shape[0], -1, x.shape[2] // 2).cumsum(1).reshape(x.shape).max(0)


def shares(x: Any) -> Any:
    """Gradients move elements back."""
    return jax.grad(lambda x: (shifted(x) ** 2).sum())(x)


@pytest.mark.parametrize("poison", ["deep", "inside"])
@pytest.mark.parametrize(
    ("fun", "spec"),
    [(shifted, "3, t, 2*t - 1"), (shares, "3, t, 2*t - 1"), (halves, "u, t, 2*t")],
)
def test_programs_are_exact_on_targets_that_do_not_gather(
    fun: Any, spec: str, poison: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Target, "fuses_gathers", False)
    symbols = sorted(name for name in MOST if name in spec.split("2*t")[0])
    f = sod2jax.optimize(
        fun,
        shapes=(spec,),
        buckets={name: (MOST[name],) for name in symbols},
        poison=poison,
        on_unsupported="error",
    )
    for t in (1, 2, 5, MOST["t"] - 1, MOST["t"]):
        true = {"t": t, "u": 1 + t % 4}
        shape = [int(dims.evaluate(dims.parse(d), true)) for d in spec.split(",")]
        x = np.random.default_rng(t).normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(f(x), jax.jit(fun)(x), rtol=1e-5, atol=1e-5)
    (executable,) = f.planner.specialisations[0].ready
    assert "gather" not in {eqn.primitive.name for eqn in equations(executable.jaxpr)}
