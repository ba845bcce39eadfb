"""What a harness is, and how it is run: poisoned, at several sizes, against plain ``jax.jit``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sod2jax
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from tests.quick import run_plainly

DEFAULT_BUCKET = {"b": 4, "s": 8, "t": 6}


@dataclasses.dataclass(frozen=True)
class Arg:
    """One array argument of a harness.

    Attributes:
      spec: its shape spec; a tuple of integers for a fixed shape.
      dtype: its dtype.
      make: ``make(rng, shape)`` gives its values; by default standard normal numbers, integers from
        0 to 9, or fair coins, by dtype.
    """

    spec: str | tuple[int, ...]
    dtype: Any = np.float32
    make: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] | None = None

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape at given sizes."""
        if isinstance(self.spec, tuple):
            return self.spec
        parts = [part for part in self.spec.split(",") if part.strip()]
        return tuple(dims.evaluate(dims.parse(part), sizes) for part in parts)

    def values(self, rng: np.random.Generator, sizes: Mapping[str, int]) -> np.ndarray:
        """Random values at given sizes."""
        shape = self.shape(sizes)
        if self.make is not None:
            return np.asarray(self.make(rng, shape)).astype(self.dtype)
        if np.dtype(self.dtype) == bool:
            return rng.random(shape) < 0.5
        if jnp.issubdtype(self.dtype, np.complexfloating):
            return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(self.dtype)
        if jnp.issubdtype(self.dtype, np.inexact):
            return rng.normal(size=shape).astype(self.dtype)
        return rng.integers(0, 10, shape).astype(self.dtype)


@dataclasses.dataclass(frozen=True)
class Harness:
    """One program with symbolic shapes.

    Attributes:
      name: unique; starts with the family or the primitive.
      fun: the function, as written for exact shapes.
      args: its arguments.
      bucket: padded size of each symbol; ``DEFAULT_BUCKET`` where missing.
      constraints: relations between the symbols, besides the bucket's bounds.
      rtol: relative to the largest magnitude of each output array.
      atol: added to it, for outputs that may be differences of nearly equal numbers.
      exact: the primitive that sends it to exact-shape executables; None if it runs padded.
      delicate: whether rounding decides much of the result, so that the exact shapes must be
        compiled as fully as the padded ones.
    """

    name: str
    fun: Callable[..., Any]
    args: tuple[Arg, ...]
    bucket: Mapping[str, int] = dataclasses.field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    rtol: float = 1e-5
    atol: float = 0.0
    exact: str | None = None
    delicate: bool = False

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of its specs, sorted."""
        specs = [arg.spec for arg in self.args if isinstance(arg.spec, str)]
        parts = [part for spec in specs for part in spec.split(",") if part.strip()]
        return tuple(sorted({name for part in parts for name in dims.symbols_of(dims.parse(part))}))

    @property
    def full(self) -> dict[str, int]:
        """The bucket."""
        return {name: self.bucket.get(name, DEFAULT_BUCKET.get(name, 8)) for name in self.symbols}

    def sizes(self) -> Iterator[dict[str, int]]:
        """True sizes to run at: 1, the bucket, one less, and sizes that divide nothing."""
        full = self.full
        points = [
            dict.fromkeys(full, 1),
            full,
            {name: max(1, size - 1) for name, size in full.items()},
            {name: max(1, (2 * size) // 3 - k) for k, (name, size) in enumerate(full.items())},
        ]
        allowed = Region.of(full, map(Comparison.parse, self.constraints))
        unique = [p for k, p in enumerate(points) if p not in points[:k] and allowed.contains(p)]
        return iter(unique or self._some(allowed))

    def _some(self, allowed: Region) -> list[dict[str, int]]:
        ranges = [range(1, size + 1) for size in self.full.values()]
        points = [dict(zip(self.full, p, strict=True)) for p in itertools.product(*ranges)]
        inside = [p for p in points if allowed.contains(p)]
        return [inside[0], inside[len(inside) // 2], inside[-1]]

    def inputs(self, sizes: Mapping[str, int], seed: int = 0) -> list[np.ndarray]:
        """Random arguments at given sizes."""
        rng = np.random.default_rng(seed)
        return [arg.values(rng, sizes) for arg in self.args]

    def optimized(
        self, on_unsupported: str = "error", poison: bool | str = False
    ) -> sod2jax.OptimizedFunction:
        """The function, optimized for the one bucket."""
        specs = tuple(arg.spec if isinstance(arg.spec, str) else None for arg in self.args)
        return sod2jax.optimize(
            self.fun,
            shapes=specs,
            constraints=self.constraints,
            buckets={name: (size,) for name, size in self.full.items()},
            on_unsupported=on_unsupported,
            poison=poison,
        )


def table(
    prefix: str,
    args: Arg | tuple[Arg, ...],
    rows: Mapping[str, Callable[..., Any]],
    **options: Any,
) -> list[Harness]:
    """Harnesses of functions of the same arguments, by the rest of their names.

    Args:
      prefix: of all names.
      args: what the functions take.
      rows: the functions.
      options: other attributes of all harnesses.
    """
    args = args if isinstance(args, tuple) else (args,)
    return [Harness(f"{prefix}_{name}", fun, args, **options) for name, fun in rows.items()]


def check(harness: Harness) -> None:
    """Runs a harness at all its sizes; asserts that it is exact and blind to padding.

    Once where inputs may be padded with anything, once in the program for inputs that are padded
    with zeros: there the padding of all other values holds poison.
    """
    if harness.exact is not None:
        check_refused(harness)
        return
    deep, inside = harness.optimized(poison="deep"), harness.optimized(poison="inside")
    points = list(harness.sizes())
    calls = [harness.inputs(sizes, seed) for seed, sizes in enumerate(points)]
    plain = run_plainly(harness.fun, calls, quickly=not harness.delicate)
    for sizes, inputs, want in zip(points, calls, plain, strict=True):
        for seen in (*run_both(deep, inputs), jax.tree.leaves(inside(*inputs))):
            assert_same(seen, want, harness.rtol, f"{harness.name} at {sizes}", harness.atol)


def check_refused(harness: Harness) -> None:
    """Asserts that a harness is refused for its primitive, and right with exact shapes."""
    inputs = harness.inputs(harness.full)
    with pytest.raises(sod2jax.errors.UnsupportedPrimitiveError) as refused:
        harness.optimized()(*inputs)
    assert refused.value.primitive == harness.exact
    fallback = harness.optimized("exact")
    with pytest.warns(sod2jax.errors.ExactFallbackWarning, match=harness.exact):
        seen = fallback(*inputs)
    want = jax.jit(harness.fun)(*inputs)
    assert_same(jax.tree.leaves(seen), jax.tree.leaves(want), harness.rtol, harness.name)


def run_both(optimized: sod2jax.OptimizedFunction, inputs: list[Any]) -> Iterator[list[Any]]:
    """Results with zeros and with poison in the padding; asserts that no bit differs."""
    clean, poisoned = (
        jax.tree.leaves(optimized.run(tuple(inputs), {}, poison, foreign=poison))
        for poison in (False, True)
    )
    for a, b in zip(clean, poisoned, strict=True):
        assert bits(a) == bits(b), "poison in the padding changed a result"
    yield poisoned


def bits(array: Any) -> bytes:
    """The bytes of an array, PRNG keys included."""
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.extended):
        array = jax.random.key_data(array)
    return np.asarray(array).tobytes()


def assert_same(
    seen: list[Any], want: list[Any], rtol: float, where: str, atol: float = 0.0
) -> None:
    """Shapes, dtypes and integers equal; floats equal relative to the largest magnitude."""
    assert len(seen) == len(want)
    for k, (a, b) in enumerate(zip(seen, want, strict=True)):
        place = f"output {k} of {where}"
        assert isinstance(a, jax.Array), place
        assert (a.shape, a.dtype) == (b.shape, b.dtype), place
        assert getattr(a, "weak_type", False) == getattr(b, "weak_type", False), place
        if not jnp.issubdtype(a.dtype, np.inexact):
            assert bits(a) == bits(b), place
            continue
        x, y = (np.asarray(v).astype(np.complex128) for v in (a, b))
        finite = np.abs(y[np.isfinite(y)])
        scale = float(finite.max()) if finite.size else 0.0
        np.testing.assert_allclose(
            x, y, rtol=rtol, atol=rtol * scale + atol, err_msg=place, equal_nan=True
        )
