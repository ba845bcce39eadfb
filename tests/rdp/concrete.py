"""Runs a symbolic jaxpr at concrete sizes, one equation at a time, and shows every value."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from sod2jax import _compat
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.region import Region
from sod2jax.ir.vocabulary import CALLS
from sod2jax.rdp import analyse

Hook = Callable[[Any, Any], Any]
LATE_BOUND = ("cond", "scan", "while")


def trace(
    function: Callable[..., Any], *specs: tuple[str, Any], constraints: Sequence[str] = ()
) -> Any:
    """The symbolic jaxpr of a function of arrays with these (shape, dtype)."""
    scope = export.SymbolicScope(constraints)
    args = [
        jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=scope), dtype)
        for shape, dtype in specs
    ]
    return jax.jit(function).trace(*args).jaxpr


def region(jaxpr: Any, *constraints: str) -> Region:
    """The region of a program's symbols, each at most 6 unless a constraint says otherwise."""
    shapes = [dims.from_jax(d) for var in jaxpr.invars for d in var.aval.shape]
    names = sorted(frozenset().union(*map(dims.symbols_of, shapes)))
    bounds = [
        f"{name} <= 6" for name in names if not any(c.startswith(f"{name} <=") for c in constraints)
    ]
    return Region.of(names, map(Comparison.parse, [*bounds, *constraints]))


def arguments(jaxpr: Any, sizes: Mapping[str, int], seed: int) -> list[np.ndarray]:
    """Random inputs: floats around 0, integers in [-2, 5)."""
    rng = np.random.default_rng(seed)
    return [fresh(rng, shape_at(var, sizes), var.aval.dtype) for var in jaxpr.invars]


def fresh(rng: np.random.Generator, shape: Sequence[int], dtype: Any) -> np.ndarray:
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    if np.issubdtype(dtype, np.integer):
        low = 0 if np.issubdtype(dtype, np.unsignedinteger) else -2
        return rng.integers(low, 5, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def shape_at(atom: Any, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(int(dims.evaluate(dims.from_jax(d), sizes)) for d in atom.aval.shape)


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Evaluates at ``sizes``; ``hook(var, value)`` sees and may replace every value."""

    sizes: Mapping[str, int]
    hook: Hook

    def run(self, jaxpr: Any, args: Sequence[Any]) -> list[Any]:
        env: dict[Any, Any] = {}

        def write(variables: Sequence[Any], values: Sequence[Any]) -> None:
            for var, value in zip(variables, values, strict=True):
                env[var] = self.hook(var, value)

        def read(atom: Any) -> Any:
            return (
                jnp.asarray(_compat.literal_array(atom)) if _compat.is_literal(atom) else env[atom]
            )

        write(jaxpr.constvars, _compat.constants(jaxpr))
        write(jaxpr.invars, args)
        for eqn in jaxpr.eqns:
            write(eqn.outvars, self._equation(eqn, list(map(read, eqn.invars))))
        return list(map(read, jaxpr.outvars))

    def _equation(self, eqn: Any, args: list[Any]) -> Sequence[Any]:
        name = eqn.primitive.name
        if name in LATE_BOUND:
            return getattr(self, f"_{name}")(eqn, *args)
        if name == "dim_as_value":
            size = self._concrete(eqn.params["dim"])
            return [jnp.asarray(size, eqn.outvars[0].aval.dtype)]
        if name in CALLS:
            ((_, body),) = _compat.sub_jaxprs(eqn)
            return self.run(body, args)
        with _compat.equation_scope(eqn):
            params = {key: self._concrete(value) for key, value in eqn.params.items()}
            return _compat.bind(eqn, *args, **params)

    def _concrete(self, param: Any) -> Any:
        if type(param) in (tuple, list):
            return type(param)(map(self._concrete, param))
        if _compat.is_symbolic(param):
            return int(dims.evaluate(dims.from_jax(param), self.sizes))
        return param

    def _cond(self, eqn: Any, index: Any, *operands: Any) -> Sequence[Any]:
        branches = eqn.params["branches"]
        return self.run(branches[min(max(int(index), 0), len(branches) - 1)], operands)

    def _scan(self, eqn: Any, *args: Any) -> Sequence[Any]:
        n_consts, n_carry = _compat.scan_counts(eqn)
        consts, carry = args[:n_consts], args[n_consts : n_consts + n_carry]
        length = self._concrete(eqn.params["length"])
        steps, stacked = range(length), [None] * length
        for k in reversed(steps) if eqn.params["reverse"] else steps:
            slices = [x[k] for x in args[n_consts + n_carry :]]
            outs = self.run(eqn.params["jaxpr"], [*consts, *carry, *slices])
            carry, stacked[k] = outs[:n_carry], outs[n_carry:]
        return [*carry, *(jnp.stack(column) for column in zip(*stacked, strict=True))]

    def _while(self, eqn: Any, *args: Any) -> Sequence[Any]:
        n_cond, n_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
        carry = list(args[n_cond + n_body :])
        while True:
            (more,) = self.run(eqn.params["cond_jaxpr"], [*args[:n_cond], *carry])
            if not bool(jnp.any(more)):
                return carry
            outs = self.run(eqn.params["body_jaxpr"], [*args[n_cond : n_cond + n_body], *carry])
            if more.ndim:  # rows that have stopped keep their carry
                outs = [
                    jnp.where(more.reshape(more.shape + (1,) * (new.ndim - more.ndim)), new, old)
                    for new, old in zip(outs, carry, strict=True)
                ]
            carry = outs


def record(
    jaxpr: Any, args: Sequence[Any], sizes: Mapping[str, int]
) -> tuple[Any, dict[Any, list]]:
    """(outputs, values of every variable each time it was computed)."""
    values: dict[Any, list] = {}

    def hook(var: Any, value: Any) -> Any:
        values.setdefault(var, []).append(value)
        return value

    return Evaluator(sizes, hook).run(jaxpr, args), values


def outputs(
    function: Callable[..., Any], *specs: tuple[str, Any], constraints: Sequence[str] = ()
) -> tuple[Any, list[Any]]:
    """(facts, output variables) of a function."""
    jaxpr = trace(function, *specs, constraints=constraints)
    return analyse(jaxpr, region(jaxpr, *constraints)), list(jaxpr.outvars)
