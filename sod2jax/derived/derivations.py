"""Derivatives and batches of an optimized function, outside of programs: optimized functions, too.

``jax.grad(f)(x)`` of an optimized ``f`` on arrays would trace ``jit(f)`` anew at every shape. Here
JAX sees one primitive, and what it makes of that are functions of flat arrays, which are optimized
in turn, with specs that follow from the program of ``f``: of a Hessian, the batch of the derivative
of the batch of a pullback.

A pullback computes its function once more, as nothing is kept from one call to the other.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.core import Tracer

from sod2jax import _compat
from sod2jax.arguments.calls import Call
from sod2jax.derived.functions import Array, Arrays, Derived, Optimize, Root
from sod2jax.errors import PlacementError
from sod2jax.ir import dims
from sod2jax.ir.program import Program
from sod2jax.options import JitKeywords, Options
from sod2jax.planning.exact import Exact, debugging
from sod2jax.planning.planner import Choice, Planner
from sod2jax.planning.specialise import Specialisation
from sod2jax.runtime.dispatch import WholePlan
from sod2jax.tracing import numeric


class Optimized(Protocol):
    """An optimized function, as far as it matters here."""

    planner: Planner
    options: Options

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], poison: bool) -> Any:
        """Runs a call."""


class Derivations:
    """What is derived from an optimized function: for each of its programs.

    Args:
      optimized: the function.
      traced: as it is traced.
      name: what to call it.
      optimize: optimizes what is derived.
    """

    def __init__(
        self, optimized: Optimized, traced: Callable[..., Any], name: str, optimize: Optimize
    ):
        self._optimized, self._traced, self._name = optimized, traced, name
        self._optimize = optimize
        self._roots: dict[int, tuple[Specialisation, Derived]] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Derivations({self._name}: {len(self.functions)} functions)"

    @property
    def functions(self) -> list[Any]:
        """All optimized functions that calls were made of."""
        return [f for _, root in list(self._roots.values()) for f in root.functions]

    def of(self, call: Call) -> Callable[[], Any] | None:
        """What runs a call on tracers; None where the function is to be called as under jit.

        Raises:
          ShapeError, SpecError: as for a call on arrays.
        """
        planner = self._optimized.planner
        if debugging() or planner.aim is not None or not _compat.is_eager(call.leaves):
            return None
        plan = self._planned(call)
        if plan is None:
            return None
        choice, whole = plan
        with self._lock:
            known = self._roots.get(id(choice.specialisation))
            if known is None:
                known = (choice.specialisation, self._root(call, whole))
                self._roots[id(choice.specialisation)] = known
        sizes = tuple(choice.regime.sizes.items())
        return lambda: jax.tree.unflatten(
            whole.out_tree, _compat.call(known[1], sizes, call.leaves)
        )

    def _planned(self, call: Call) -> tuple[Choice, WholePlan] | None:
        """What would serve a call on arrays; None, with a warning, if that runs exactly."""
        planner = self._optimized.planner
        arguments = jax.tree.map(_abstract, _Arguments.of(call)(call.leaves))
        choice = planner.choose(planner.read(*arguments))
        if isinstance(choice, Exact) or choice.is_doubtful:
            return None
        program = choice.plan.program
        if program.jaxpr.effects or program.host_sizes or not isinstance(choice.plan, WholePlan):
            planner.exact(
                PlacementError(
                    f"derivatives and batches of {self._name} run as under jit, one compile per "
                    f"shape: it has {_obstacle(program)}. To run them from buckets, optimize "
                    f"jax.grad({self._name}) and the like"
                )
            )
            return None
        return choice, choice.plan

    def _root(self, call: Call, plan: WholePlan) -> Derived:
        program, options = plan.program, self._optimized.options
        arguments = _Arguments.of(call)

        def fun(arrays: list[Any]) -> list[Any]:
            args, kwargs = arguments(arrays)
            return _flat(numeric.delivered(self._traced(*args, **kwargs)))

        def itself(arrays: list[Any]) -> list[Any]:
            args, kwargs = arguments(arrays)
            return jax.tree.leaves(self._optimized.run(args, kwargs, options.poisons_inputs))

        avals = [var.aval for var in program.jaxpr.invars]
        pairs = zip(plan.order, avals, strict=False)  # what depends on sizes comes last
        placed = [_array(aval) for _, aval in sorted(pairs, key=lambda pair: pair[0])]
        results = [_array(atom.aval) for atom in program.results]
        jit = JitKeywords(compiler_options=options.jit.compiler_options)
        symbols = dims.symbols_in([array.shape for array in placed])
        rest = (symbols, dataclasses.replace(options, jit=jit), self._optimize)
        return Root(itself, self._name, fun, placed, results, *rest)


def _obstacle(program: Program) -> str:
    """What a derived function cannot have."""
    if not program.jaxpr.effects:
        return "sizes that are no dimensions of its arguments"
    return "effects, which would run once more, or names of axes around it"


@dataclasses.dataclass(frozen=True, eq=False)
class _Arguments:
    """Makes the arguments of a call, static ones included, of leaves; holds none of its tracers."""

    tree: Any
    static: tuple[tuple[Any, Any], ...]

    @classmethod
    def of(cls, call: Call) -> _Arguments:
        return cls(jax.tree.structure((call.args, call.kwargs)), call.static)

    def __call__(self, leaves: Arrays) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = jax.tree.unflatten(self.tree, leaves)
        args = list(args)
        for where, value in self.static:  # positions first, in their order
            if isinstance(where, int):
                args.insert(where, value)
            else:
                kwargs = {**kwargs, where: value}
        return tuple(args), kwargs


def _abstract(leaf: Any) -> Any:
    """A shape and dtype for a tracer."""
    if not isinstance(leaf, Tracer):
        return leaf
    aval: Any = leaf.aval
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def _array(aval: Any) -> Array:
    return Array(tuple(map(dims.from_jax, aval.shape)), aval.dtype, aval.weak_type)


def _flat(result: Any) -> list[Any]:
    """The arrays of a result, as ``jit`` gives them."""
    return [
        x
        if isinstance(x, jax.Array) or getattr(x, "dtype", None) == jax.dtypes.float0
        else jnp.asarray(x)
        for x in jax.tree.leaves(result)
    ]
