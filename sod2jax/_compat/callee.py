"""A function as one primitive: what ``grad``, ``jvp`` and ``vmap`` of arrays make of it runs whole.

The functions that these make stand for the primitive's rules: each binds the primitive once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import jax
from jax._src import core
from jax._src.ad_util import Zero
from jax._src.interpreters import ad, batching, mlir, partial_eval

Sizes = tuple[tuple[str, int], ...]


class Callee(Protocol):
    """A function of flat arrays, and what transformations make of it.

    Attributes:
      differentiable: for each result, whether it has a tangent.
    """

    @property
    def differentiable(self) -> tuple[bool, ...]: ...

    def run(self, args: Sequence[Any]) -> Sequence[Any]:
        """The results for arrays."""
        ...

    def traced(self, args: Sequence[Any]) -> Sequence[Any]:
        """The results for tracers of programs."""
        ...

    def avals(self, sizes: Sizes) -> list[Any]:
        """The avals of the results."""
        ...

    def jvp(self, which: tuple[bool, ...]) -> Callee:
        """Takes the arguments and tangents of some; gives the results and their tangents."""
        ...

    def linear(self, which: tuple[bool, ...]) -> Callee:
        """Takes the same; gives the tangents alone."""
        ...

    def transposed(self, which: tuple[bool, ...]) -> Callee | None:
        """Linear in some arguments, it takes the others and cotangents; None if not known."""
        ...

    def batched(
        self, axes: tuple[int | None, ...], sizes: Sizes, size: int
    ) -> tuple[Callee, tuple[bool, ...], Sizes]:
        """Over an axis of some arguments; which results have it in front; the sizes with its."""
        ...


def is_eager(leaves: Sequence[Any]) -> bool:
    """Whether derivatives and batches of arrays are all that is around a call, and no program."""
    trace, around = core.trace_ctx.trace, []
    while isinstance(trace, ad.JVPTrace | ad.LinearizeTrace | batching.BatchTrace):
        data = getattr(trace, "axis_data", None)
        if data is not None and (data.spmd_name is not None or data.explicit_mesh_axis):
            return False  # a batch over devices
        around.append(getattr(trace, "tag", trace))
        trace = trace.parent_trace
    tracers = (leaf for leaf in leaves if isinstance(leaf, core.Tracer))
    # A tracer of none of these has leaked; JAX says so.
    known = all(any(getattr(t._trace, "tag", None) is tag for tag in around) for t in tracers)
    return isinstance(trace, core.EvalTrace) and known


def call(function: Callee, sizes: Sizes, args: Sequence[Any]) -> list[Any]:
    """Binds the primitive under the transformations that are around."""
    return call_p.bind(*args, function=function, sizes=sizes)


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, function: Callee, sizes: Sizes
) -> tuple[list[Any], list[Any]]:
    which = tuple(not isinstance(t, Zero) and not _is_float0(t) for t in tangents)
    given = [t for t, chosen in zip(tangents, which, strict=True) if chosen]
    moved: list[Any] = []
    if not given or isinstance(core.trace_ctx.trace, partial_eval.JaxprTrace):
        # Of a linearization, whose tangents come later.
        results = call(function, sizes, primals)
        moved = call(function.linear(which), sizes, [*primals, *given]) if given else []
    else:
        both = call(function.jvp(which), sizes, [*primals, *given])
        results, moved = both[: len(function.differentiable)], both[len(function.differentiable) :]
    rest = iter(moved)
    pairs = zip(results, function.differentiable, strict=True)
    return results, [
        next(rest) if given and has_tangent else Zero(core.typeof(x).to_tangent_aval())
        for x, has_tangent in pairs
    ]


def _is_float0(tangent: Any) -> bool:
    return getattr(tangent, "dtype", None) == jax.dtypes.float0


def _transposed(cotangents: Sequence[Any], *args: Any, function: Callee, sizes: Sizes) -> list[Any]:
    which = tuple(map(ad.is_undefined_primal, args))
    if all(isinstance(ct, Zero) for ct in cotangents):
        return [Zero(x.aval.to_ct_aval()) if u else None for x, u in zip(args, which, strict=True)]
    known = [x for x, undefined in zip(args, which, strict=True) if not undefined]
    pairs = zip(cotangents, function.differentiable, strict=True)
    given = [ad.instantiate_zeros(ct) for ct, has_tangent in pairs if has_tangent]
    other = function.transposed(which)
    if other is None:
        results = iter(_transposed_by_jax(function, args, which, given))
    else:
        results = iter(call(other, sizes, [*known, *given]))
    return [next(results) if undefined else None for undefined in which]


def _transposed_by_jax(
    function: Callee, args: Sequence[Any], which: Sequence[bool], cotangents: Sequence[Any]
) -> Sequence[Any]:
    """The transposition at the very shapes of the arguments."""

    def some(*unknown: Any) -> list[Any]:
        chosen = iter(unknown)
        given = [next(chosen) if u else x for x, u in zip(args, which, strict=True)]
        pairs = zip(function.traced(given), function.differentiable, strict=True)
        return [x for x, has_tangent in pairs if has_tangent]

    avals = [x.aval for x, undefined in zip(args, which, strict=True) if undefined]
    specs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
    return jax.linear_transpose(some, *specs)(list(cotangents))


def _batched(
    axis: Any, args: Sequence[Any], axes: Sequence[Any], *, function: Callee, sizes: Sizes
) -> tuple[list[Any], list[int | None]]:
    if all(k is None for k in axes):
        results = call(function, sizes, args)
        return results, [None] * len(results)
    if not all(isinstance(k, int | None) for k in axes):
        raise NotImplementedError(f"an optimized function over axes {axes}")
    if not isinstance(axis.size, int):  # a pullback in a symbolic trace
        over = jax.vmap(lambda *xs: function.traced(xs), tuple(axes), 0)
        return list(over(*args)), [0] * len(function.differentiable)
    other, has_axis, more = function.batched(tuple(axes), sizes, axis.size)
    return call(other, more, args), [0 if batched else None for batched in has_axis]


call_p = core.Primitive("optimized_call")
call_p.multiple_results = True
call_p.def_impl(lambda *args, function, sizes: list(function.run(args)))
call_p.def_abstract_eval(lambda *_, function, sizes: function.avals(sizes))
ad.primitive_jvps[call_p] = _jvp
ad.primitive_transposes[call_p] = _transposed
batching.fancy_primitive_batchers[call_p] = _batched
# In the program of a ``jit`` around a pullback.
mlir.register_lowering(call_p, mlir.lower_fun(lambda *args, function, sizes: function.traced(args)))


def axis_of(tracer: Any, mapped: Sequence[Any]) -> bool:
    """Whether a result inside of ``vmap`` has the axis that ``mapped``, some arguments, have."""
    tags = {id(x._trace.tag) for x in mapped if isinstance(x, batching.BatchTracer)}
    return (
        isinstance(tracer, batching.BatchTracer)
        and tracer.batch_dim is not None
        and id(tracer._trace.tag) in tags
    )
