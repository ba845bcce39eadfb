"""What a program with data-dependent sizes is, and how it is run beside NumPy's version of it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sod2jax
from tests.harnesses.base import Arg, bits

DIM = 4


@dataclasses.dataclass(frozen=True)
class Program:
    """A program with sizes that depend on values.

    Attributes:
      fun: the function, written with ``jax.numpy`` and ``sod2jax.numpy``.
      plain: the same by other means, in plain NumPy.
      args: its arguments.
      sizes: the sizes to run at, by symbol; the last are the bucket.
    """

    fun: Callable[..., Any]
    plain: Callable[..., Any]
    args: tuple[Arg, ...]
    sizes: tuple[Mapping[str, int], ...] = ({"n": 1}, {"n": 5}, {"n": 8})

    @property
    def name(self) -> str:
        """The name of its function; unique."""
        return self.fun.__name__


def check(program: Program, cut: str, eagerly: bool = False) -> None:
    """Runs a program at its sizes; asserts that it equals NumPy's, whatever the padding holds.

    Args:
      program: what to run.
      cut: see ``sod2jax.optimize``.
      eagerly: whether to run the function step by step as well, without ``optimize``.
    """
    optimized = sod2jax.optimize(
        program.fun,
        shapes=tuple(arg.spec if isinstance(arg.spec, str) else None for arg in program.args),
        buckets={name: (size,) for name, size in program.sizes[-1].items()},
        max_executables=1,
        cut=cut,
        on_unsupported="error",
    )
    for number, sizes in enumerate(program.sizes):
        rng = np.random.default_rng(number)
        inputs = tuple(arg.values(rng, sizes) for arg in program.args)
        where = f"{program.name} at {sizes}"
        seen, poisoned = (
            jax.tree.leaves(optimized.run(inputs, {}, p, foreign=p)) for p in (False, True)
        )
        assert_equal(seen, _plainly(program, inputs), where)
        assert list(map(bits, seen)) == list(map(bits, poisoned)), f"poison changed {where}"
        if eagerly:
            step_by_step = program.fun(*map(jnp.asarray, inputs))
            assert_equal(seen, jax.tree.leaves(step_by_step), f"{where}, step by step")
    assert optimized.stats().exact_fallbacks == 0, optimized.stats()


def _plainly(program: Program, inputs: Any) -> list[Any]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # means of nothing
        return jax.tree.leaves(program.plain(*inputs))


def assert_equal(seen: list[Any], want: list[Any], where: str) -> None:
    """Shapes, integers and booleans equal; floats but for rounding; dtypes JAX's of NumPy's."""
    assert len(seen) == len(want), where
    for k, (a, b) in enumerate(zip(seen, map(np.asarray, want), strict=True)):
        place = f"output {k} of {where}"
        assert isinstance(a, jax.Array), place
        assert (a.shape, a.dtype.kind) == (b.shape, b.dtype.kind), place
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=place)
        else:
            np.testing.assert_array_equal(a, b, err_msg=place)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def groups(keys: np.ndarray) -> dict[Any, list[int]]:
    places: dict[Any, list[int]] = {}
    for at, key in enumerate(keys.tolist()):
        places.setdefault(tuple(key) if isinstance(key, list) else key, []).append(at)
    return dict(sorted(places.items()))


def few(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Integers of which many are equal."""
    return rng.integers(0, 3, shape)


VECTOR, ROWS = Arg("n"), Arg(f"n, {DIM}")
IDS = Arg("n", np.int32)
FEW = Arg("n", np.int32, few)
PAIRS = ({"n": 1, "m": 3}, {"n": 7, "m": 1}, {"n": 8, "m": 4})  # sizes of two symbols
