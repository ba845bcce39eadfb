"""Functions of flat arrays, and what derivatives and batches make of them."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax._compat import Sizes
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim
from sod2jax.options import Options

Arrays = Sequence[Any]
Mask = tuple[bool, ...]


FlatFunction = Callable[[list[Any]], list[Any]]
Optimize = Callable[..., Any]  # of a flat function and options: the same, optimized


@dataclasses.dataclass(frozen=True)
class Array:
    """An argument or a result.

    Attributes:
      shape: in dimensions.
      dtype: of its elements.
      weak_type: whether it gives way to other dtypes.
    """

    shape: tuple[Dim, ...]
    dtype: Any
    weak_type: bool = False

    @property
    def has_tangent(self) -> bool:
        """Whether derivatives are taken by it, or of it."""
        return jnp.issubdtype(self.dtype, np.inexact)

    @property
    def tangent(self) -> Array:
        """Its tangent."""
        return dataclasses.replace(self, weak_type=False)

    def at(self, sizes: Mapping[str, int]) -> Any:
        """Its aval."""
        shape = tuple(int(dims.evaluate(d, sizes)) for d in self.shape)
        return _compat.ShapedArray(shape, self.dtype, weak_type=self.weak_type)

    def batched(self, axis: int | None, size: Dim) -> Array:
        """With one more axis."""
        if axis is None:
            return self
        return dataclasses.replace(self, shape=(*self.shape[:axis], size, *self.shape[axis:]))

    @property
    def spec(self) -> str | None:
        """What ``shapes`` says of it."""
        if not any(map(dims.is_symbolic, self.shape)):
            return None
        return ", ".join(map(str, self.shape))


class Derived:
    """A function of flat arrays: see ``_compat.Callee``.

    Args:
      name: of the function.
      fun: takes one list of arrays, and gives another.
      inputs: what it takes.
      outputs: what it gives.
      symbols: of its sizes.
      options: for optimizing it, without specs.
      optimize: does that.
    """

    def __init__(
        self,
        name: str,
        fun: FlatFunction,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        symbols: frozenset[str],
        options: Options,
        optimize: Optimize,
    ):
        self.name, self._fun = name, fun
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._symbols, self._options, self._optimize = symbols, options, optimize
        self._made: dict[Any, Any] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"Derived({self.name})"

    @functools.cached_property
    def optimized(self) -> Callable[[list[Any]], Any]:
        """The optimized function, which takes one list."""

        def fun(arrays: list[Any]) -> list[Any]:
            return self._fun(arrays)

        fun.__name__ = fun.__qualname__ = self.name
        names, options = self._symbols, self._options
        options = dataclasses.replace(
            options,
            shapes=([array.spec for array in self._inputs],),
            constraints=tuple(c for c in options.constraints if c.symbols <= names),
            buckets={name: sizes for name, sizes in options.buckets.items() if name in names},
        )
        return self._optimize(fun, options)

    @property
    def functions(self) -> list[Callable[[list[Any]], Any]]:
        """This one and all that were made of it, as far as they have run."""
        mine = [self.optimized] if "optimized" in vars(self) else []
        return mine + [f for made in list(self._made.values()) for f in made[0].functions]

    # What the primitive asks for

    @property
    def differentiable(self) -> Mask:
        """For each result, whether it has a tangent."""
        return tuple(array.has_tangent for array in self._outputs)

    def run(self, args: Arrays) -> list[Any]:
        """The results for arrays."""
        return self.optimized(list(args))

    def traced(self, args: Arrays) -> list[Any]:
        """The results for tracers of programs."""
        return self._fun(list(args))

    def avals(self, sizes: Sizes) -> list[Any]:
        """The avals of the results."""
        named = dict(sizes)
        return [array.at(named) for array in self._outputs]

    def jvp(self, which: Mask) -> Derived:
        """Takes the arguments and tangents of some; gives the results and their tangents."""
        return self._once(("jvp", which), lambda: (self._with_tangents(which, True),))[0]

    def linear(self, which: Mask) -> Derived:
        """Takes the arguments and tangents of some; gives the tangents of the results."""
        return self._once(("linear", which), lambda: (self._with_tangents(which, False),))[0]

    def transposed(self, which: Mask) -> Derived | None:
        """Takes the arguments but for some, in which it is linear, and cotangents; where known."""
        return None

    def batched(
        self, axes: tuple[int | None, ...], sizes: Sizes, size: int
    ) -> tuple[Derived, Mask, Sizes]:
        """Over an axis of some arguments; which results have it in front; the sizes with its."""
        symbol = "batch"
        while symbol in self._symbols:
            symbol += "_"
        key = ("batched", axes)
        made = self._once(key, lambda: self._over(axes, symbol, dict(sizes)))
        return *made, (*sizes, (symbol, size))

    # How these are made

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]

    def _parts(
        self, suffix: str, fun: FlatFunction, inputs: Sequence[Array], outputs: Sequence[Array]
    ) -> tuple[Any, ...]:
        rest = (self._symbols, self._options, self._optimize)
        return f"{self.name}_{suffix}", fun, inputs, outputs, *rest

    def _like(
        self, suffix: str, fun: FlatFunction, inputs: Sequence[Array], outputs: Sequence[Array]
    ) -> Derived:
        return Derived(*self._parts(suffix, fun, inputs, outputs))

    def _with_tangents(self, which: Mask, has_results: bool) -> Derived:
        count = len(self._inputs)

        def fun(arrays: list[Any]) -> list[Any]:
            some, primals = self._of_some(arrays[:count], which)
            _, tangents, results = jax.jvp(some, primals, arrays[count:], has_aux=True)
            return [*results, *tangents] if has_results else tangents

        taken = [array.tangent for array in _those(self._inputs, which)]
        given = [array.tangent for array in _those(self._outputs, self.differentiable)]
        inputs = [*self._inputs, *taken]
        if has_results:
            return self._like("jvp", fun, inputs, [*self._outputs, *given])
        return _Linear(self, which, *self._parts("tangents", fun, inputs, given))

    def pullback(self, which: Mask) -> Derived:
        """Takes the arguments and the cotangents of the results; gives those of some arguments."""
        count = len(self._inputs)

        def fun(arrays: list[Any]) -> list[Any]:
            some, primals = self._of_some(arrays[:count], which)
            _, pull, _ = jax.vjp(some, *primals, has_aux=True)
            return list(pull(arrays[count:]))

        def make() -> tuple[Derived]:
            taken = [array.tangent for array in _those(self._outputs, self.differentiable)]
            given = [array.tangent for array in _those(self._inputs, which)]
            return (self._like("vjp", fun, [*self._inputs, *taken], given),)

        return self._once(("pullback", which), make)[0]

    def _of_some(self, arguments: Arrays, which: Mask) -> tuple[Callable[..., Any], list[Any]]:
        """As a function of some arguments; and these.

        It gives the results that have tangents, and beside them all.
        """

        def fun(*some: Any) -> tuple[list[Any], list[Any]]:
            chosen = iter(some)
            pairs = zip(arguments, which, strict=True)
            results = self._fun([next(chosen) if moves else x for x, moves in pairs])
            return _those(results, self.differentiable), results

        return fun, _those(arguments, which)

    def _over(
        self, axes: tuple[int | None, ...], symbol: str, sizes: dict[str, int]
    ) -> tuple[Derived, Mask]:
        size = dims.symbol(symbol)
        inputs = [a.batched(k, size) for a, k in zip(self._inputs, axes, strict=True)]
        has_axis = self._with_axis(axes, [a.at({**sizes, symbol: 2}) for a in inputs])
        out_axes = [0 if has else None for has in has_axis]
        over = jax.vmap(self._fun, (list(axes),), out_axes)
        outputs = [a.batched(k, size) for a, k in zip(self._outputs, out_axes, strict=True)]
        rest = (self._symbols | {symbol}, self._options, self._optimize)
        return Derived(f"{self.name}_vmap", over, inputs, outputs, *rest), has_axis

    def _with_axis(self, axes: tuple[int | None, ...], avals: Arrays) -> Mask:
        """Which results have the axis of a batch, as JAX finds it: at some sizes, once."""
        found: list[Mask] = []

        def fun(arrays: list[Any]) -> list[Any]:
            results = self._fun(arrays)
            found.append(tuple(_compat.axis_of(x, arrays) for x in results))
            return results

        jax.eval_shape(jax.vmap(fun, (list(axes),), 0), list(avals))
        return found[-1]


class _Linear(Derived):
    """The tangents of a function, which are linear in those of its arguments: pulled back by it."""

    def __init__(self, of: Derived, moves: Mask, *args: Any):
        super().__init__(*args)
        self._of, self._moves = of, moves

    def transposed(self, which: Mask) -> Derived | None:
        """The pullback, if the tangents are what is unknown."""
        count = len(self._moves)
        if any(which[:count]) or not all(which[count:]):
            return None
        return self._of.pullback(self._moves)


class Root(Derived):
    """The optimized function itself, of the arrays of one kind of calls."""

    def __init__(self, itself: FlatFunction, *args: Any):
        super().__init__(*args)
        self._itself = itself

    def run(self, args: Arrays) -> list[Any]:
        """The results for arrays, from the function's own executables."""
        return self._itself(list(args))


def _those(items: Sequence[Any], which: Mask) -> list[Any]:
    """Those of some items that are chosen."""
    return [item for item, chosen in zip(items, which, strict=True) if chosen]
