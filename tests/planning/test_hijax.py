"""Values that are no arrays: such calls run as under ``jax.jit``, and say so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax

hijax = pytest.importorskip("jax.experimental.hijax")
if not hasattr(hijax, "HiPrimitive"):
    pytest.skip("primitives of such types are written in another way", allow_module_level=True)


@dataclasses.dataclass(frozen=True)
class Halves:
    """An array of which JAX sees that it is stored in two parts."""

    whole: jax.Array
    rest: jax.Array


@dataclasses.dataclass(frozen=True)
class HalvesTy(hijax.HiType):
    """Its type."""

    shape: tuple[int, ...]

    def __hash__(self) -> int:
        return hash(self.shape)

    def lo_ty(self) -> list[Any]:
        return [hijax.ShapedArray(self.shape, np.dtype(np.float32))] * 2

    def lower_val(self, hi_val: Halves) -> list[Any]:
        return [hi_val.whole, hi_val.rest]

    def raise_val(self, *lo_vals: Any) -> Halves:
        return Halves(*lo_vals)


class Join(hijax.HiPrimitive):
    def abstract_eval(self, halves: HalvesTy) -> Any:
        return hijax.ShapedArray(halves.shape, np.dtype(np.float32)), set()

    def to_lojax(self, halves: Halves) -> Any:
        return halves.whole + halves.rest


class Divide(hijax.HiPrimitive):
    def abstract_eval(self, array: Any) -> Any:
        return HalvesTy(array.shape), set()

    def to_lojax(self, array: Any) -> Any:
        return Halves(jnp.floor(array), array - jnp.floor(array))


hijax.register_hitype(Halves, lambda halves: HalvesTy(halves.whole.shape))
join, divide = Join("join"), Divide("divide")


def _halves(size: int) -> Halves:
    return Halves(jnp.arange(size, dtype=np.float32), jnp.full(size, 0.5))


HELD = _halves(3)


def _parts(value: Any) -> list[Any]:
    return [value.whole, value.rest] if isinstance(value, Halves) else [value]


def _run(optimized: Any, fun: Callable[..., Any], *args: Any) -> None:
    for got, wanted in zip(_parts(optimized(*args)), _parts(jax.jit(fun)(*args)), strict=True):
        np.testing.assert_allclose(got, wanted)


@pytest.mark.parametrize("shapes", [None, (None, "n")])
def test_an_argument_that_is_no_array(shapes: Any) -> None:
    def scaled(halves: Any, x: jax.Array) -> jax.Array:
        return join.bind(halves).sum() * x

    optimized = sod2jax.optimize(scaled, shapes=shapes)
    with pytest.warns(sod2jax.errors.ExactFallbackWarning, match="'halves' of scaled is no array"):
        for size in (1, 4, 5):
            _run(optimized, scaled, _halves(size), np.ones(size, np.float32))
    assert optimized.stats().exact_fallbacks == 3


INSIDE = {
    "closed_over": (lambda x: x.sum() + join.bind(HELD), "it closes over one"),
    "made": (lambda x: join.bind(divide.bind(x)) * 2, "test_hijax.py"),
    "returned": (lambda x: divide.bind(x), "test_hijax.py"),
}


@pytest.mark.parametrize("shapes", [None, ("n",)])
@pytest.mark.parametrize("name", INSIDE)
def test_a_program_with_values_that_are_no_arrays(name: str, shapes: Any) -> None:
    fun, where = INSIDE[name]
    optimized = sod2jax.optimize(fun, shapes=shapes)
    with pytest.warns(sod2jax.errors.ExactFallbackWarning, match=f"'HalvesTy' .*{where}"):
        for size in (1, 4, 5):
            _run(optimized, fun, np.linspace(0, 3, size, dtype=np.float32))
    refusing = sod2jax.optimize(fun, shapes=("n",), on_unsupported="error")
    with pytest.raises(sod2jax.errors.PlacementError, match="hijax"):
        refusing(np.ones(2, np.float32))


def test_rows_of_such_a_program_run_one_by_one() -> None:
    fun, _ = INSIDE["made"]
    rows = [np.ones(size, np.float32) for size in (1, 3)]
    with pytest.warns(sod2jax.errors.ExactFallbackWarning, match="row by row"):
        results = sod2jax.ragged_vmap(fun, shapes=("n",))(rows)
    assert [result.tolist() for result in results] == [[2.0], [2.0] * 3]


def test_boxes_are_read_and_written_as_under_jit() -> None:
    box_type = getattr(__import__("jax._src.hijax", fromlist=["Box"]), "Box", None)
    if box_type is None:
        pytest.skip("this JAX has none")
    box = box_type(jnp.zeros(()))

    def counted(x: jax.Array) -> jax.Array:
        box.set(box.get() + x.sum())
        return x * 2

    optimized = sod2jax.optimize(counted, shapes=("n",))
    with pytest.warns(sod2jax.errors.ExactFallbackWarning, match="'BoxTy'"):
        for size in (2, 3):
            assert optimized(np.ones(size, np.float32)).tolist() == [2.0] * size
    assert float(box.get()) == 5
