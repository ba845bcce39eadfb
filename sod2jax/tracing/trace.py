"""Function and specs to a symbolic program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import jax
from jax import export

from sod2jax import _compat
from sod2jax.errors import (
    DataDependentSizeError,
    FunctionError,
    PlacementError,
    StateError,
    TraceError,
)
from sod2jax.ir import dims, foreign, trees
from sod2jax.ir.closures import HiddenSize
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.program import Program
from sod2jax.ir.region import Region
from sod2jax.tracing import (
    data_dependent,
    escaped,
    guards,
    host_values,
    numeric,
    overflow,
    reach,
    slots,
    swallowed,
    type_calls,
)
from sod2jax.tracing.advice import explain, worded
from sod2jax.tracing.decisions import Decisions
from sod2jax.tracing.regimes import Regime

REFERENCE = (
    "a reference (jax.Ref), which a program writes to at its true size; such calls run as under "
    "jax.jit. For buckets, give and return the array"
)
"""What to say of one among arrays."""

HIGH = (
    "no array but a value of a type of its own (hijax), whose sizes only that type knows; such "
    "calls run as under jax.jit. For buckets, give the arrays that it is made of"
)
"""What to say of one among arrays."""


@dataclasses.dataclass(frozen=True, eq=False)
class Undecided:
    """A trace that stopped where sizes of its region differ.

    Attributes:
      question: what to decide before the next try.
      error: what stopped the trace; final for sizes that the question does not set apart.
      data_dependent: the symbols of data-dependent sizes, in the order of their making.
      of_remainder: whether the question is which remainder a size has; it names one of them.
      besides: other equalities that would have let the trace go on, as ``m == 1`` where arrays of
        n and m elements do not broadcast.
    """

    question: Comparison
    error: Exception
    data_dependent: tuple[str, ...] = ()
    of_remainder: bool = False
    besides: tuple[Comparison, ...] = ()

    @property
    def is_data_dependent(self) -> bool:
        """Whether the question is about data-dependent sizes."""
        return not self.question.symbols.isdisjoint(self.data_dependent)

    def at(self, sizes: Mapping[str, int]) -> Comparison | None:
        """What to decide at these sizes; None if the answer leaves the trace as it was."""
        if self.of_remainder:
            remainder = int(dims.evaluate(self.question.left, sizes))
            return dataclasses.replace(self.question, right=remainder)
        helps = (q for q in (self.question, *self.besides) if q.op != "==" or q.holds(sizes))
        return next(helps, None)


def trace(
    fun: Callable[..., Any],
    arguments: Sequence[Any],
    regime: Regime,
    name: str,
    decides: bool = True,
) -> Program | Undecided:
    """Traces ``fun(*arguments)`` with the symbolic shapes of a regime.

    Args:
      fun: takes the dynamic arguments by position.
      arguments: pytrees whose leaves, in order, are described by the regime's.
      regime: the arrays with their symbolic shapes, and what tracing may rely on.
      name: what to call the program.
      decides: whether the sizes of the leaves are those of a call, to decide as that does.

    Returns:
      The program; or where it stopped, if some sizes of the region decide otherwise.

    Raises:
      TraceError: the function wants concrete sizes, or its shapes do not fit.
      StateError: it uses a size that an earlier trace left in Python state.
      PlacementError: it closes over a reference, or has a value that is no array.
      FunctionError: the function fails, and there are no symbols.
    """
    while True:
        result: Program | Undecided | None = None
        try:
            result = _traced(fun, arguments, regime, name, decides)
            failure = result.error if isinstance(result, Undecided) else None
        except TraceError as error:
            failure = error
        if failure is None or not type_calls.explains(failure.__cause__):
            break
    if result is None:
        raise failure  # type: ignore[misc]
    return result


def _traced(
    fun: Callable[..., Any], arguments: Sequence[Any], regime: Regime, name: str, decides: bool
) -> Program | Undecided:
    leaves, region = regime.leaves, regime.region
    scope = _scope(region)
    shapes = [_to_jax(leaf.shape, scope) for leaf in leaves]
    specs = [
        jax.ShapeDtypeStruct(
            shape,
            leaf.aval.dtype,
            weak_type=leaf.aval.weak_type,
            sharding=_compat.typed_place(leaf.aval),
        )
        for leaf, shape in zip(leaves, shapes, strict=True)
    ]
    tree = jax.tree.structure(tuple(arguments))
    decisions = Decisions(regime.sizes, regime.expected) if decides else None
    recording = guards.recording(region, scope, regime.assumptions, decisions)
    reached = reach.objects(fun)
    called = [value for value in reached if isinstance(value, FunctionType)]
    with type_calls.answered(called), swallowed.noticed(called), recording as recorder:
        try:

            def run(*args: Any) -> Any:
                recorder.outermost = _compat.current_trace()
                return numeric.delivered(fun(*args))

            traced = jax.jit(run).trace(*jax.tree.unflatten(tree, specs))
            _refuse_high(traced.jaxpr, name)
            types = [_compat.typed_place(atom.aval) for atom in traced.jaxpr.outvars]
            closed = foreign.opened(_compat.untyped(_compat.without_unread(traced.jaxpr)))
        except (StateError, DataDependentSizeError, PlacementError):
            raise
        except Exception as error:  # the user's code may raise anything, given symbolic sizes
            if recorder.stale is not None:
                raise recorder.stale from error
            if not recorder.region.names:
                raise FunctionError.of(name, error, worded(name, error)) from error
            failure = TraceError(explain(name, recorder.region, leaves, error))
            failure.__cause__ = error
            if recorder.doubtful is not None:
                return Undecided(
                    recorder.doubtful,
                    failure,
                    tuple(recorder.data_dependent),
                    besides=recorder.equalities,
                )
            raise failure from error
    if recorder.stale is not None:
        raise recorder.stale
    if recorder.undecided is not None:  # somebody caught the error
        error = TraceError(f"{name} goes on where '{recorder.undecided}' is not known")
        return Undecided(recorder.undecided, error, tuple(recorder.data_dependent))
    if len(closed.invars) != len(leaves):
        raise TraceError(
            f"{name} closes over a value that an outer jit, grad or vmap is tracing: pass it as an "
            "argument"
        )
    out_tree = jax.tree.structure(traced.out_info)
    if trees.holds(out_tree, numeric.Numeric):
        raise TraceError(
            f"{name} returns a number made of sizes in the static part of its result, where it "
            "must be known: return it as an array, or keep it a whole number"
        )
    _check_tree(out_tree, recorder.region, name)
    if any(isinstance(value, jax.Ref) for value in _compat.all_constants(closed)):
        raise PlacementError(f"{name} closes over {REFERENCE}")
    escaped.refuse(closed, scope, name)
    try:
        overflow.guard_shapes(recorder, closed)
    except overflow.TooLarge as error:
        raise TraceError(f"{name} cannot be computed in 32 bits: {error}") from error
    if recorder.region.names:
        slots.doubt_calls(recorder, reached)
    closed, computed = data_dependent.exposed(closed)
    closed, numbers = host_values.hoisted(closed)
    with jax.ensure_compile_time_eval():
        constants = tuple(map(jax.device_put, _compat.all_constants(closed)))
    return Program(
        name=name,
        jaxpr=closed,
        constants=constants,
        in_names=(*(leaf.name for leaf in leaves), *(f"the number at {x.source}" for x in numbers)),
        out_tree=out_tree,
        region=recorder.region,
        guards=(*recorder.decisions.taken, *recorder.guards, *recorder.besides),
        computed_dims=computed,
        data_dependent=frozenset(recorder.data_dependent) & frozenset(recorder.region.names),
        doubts=tuple(recorder.doubts),
        numbers=numbers,
        result_types=tuple(types),
    )


def _check_tree(tree: Any, region: Region, name: str) -> None:
    """Raises where a function in the static part of a result cannot be told the true sizes."""
    try:
        if trees.has_sizes(tree):
            trees.evaluated(tree, dict.fromkeys(region.names, 1))
    except HiddenSize as error:
        raise TraceError(
            f"{name} returns a function whose sizes cannot be told: {error}"
        ) from error


def _refuse_high(jaxpr: Any, name: str) -> None:
    """Raises where a program has values that are no arrays."""
    if (found := _compat.high_type_in(jaxpr)) is not None:
        kind, eqn = found
        where = "it closes over one" if eqn is None else _compat.source_line(eqn)
        raise PlacementError(f"{name} has a '{kind}' ({where}): it is {HIGH}")


def _scope(region: Region) -> Any:
    """A fresh scope of JAX dimensions that knows the region."""
    bounds = []
    for name, low, high in region.ranges:
        bounds += [f"{name} >= {low}"] if low > 1 else []
        bounds += [f"{name} <= {high}"] if high is not None else []
    rest = [f"{dims.jax_text(c.left)} {c.op} {dims.jax_text(c.right)}" for c in region.constraints]
    return export.SymbolicScope([*bounds, *rest])


def _to_jax(shape: Sequence[dims.Dim], scope: Any) -> tuple[Any, ...]:
    if not any(map(dims.is_symbolic, shape)):
        return tuple(shape)
    text = ", ".join(dims.jax_text(d) for d in shape)
    return tuple(export.symbolic_shape(f"({text},)", scope=scope))
