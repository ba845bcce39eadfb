"""Eigenvectors and singular vectors: where a program computes the same from every choice of them.

A solver chooses the sign of each vector, and a basis of all vectors of one value. Padding changes
its choice. But most programs make products such as ``V f(w) V^T`` of vectors (pseudo-inverses,
least squares, functions of matrices), in which the choice cancels. Where that is proved, the
equation gets a primitive of our own, which the rewrite can run on padded arrays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Sequence

import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir import surgery
from sod2jax.ir.jaxprs import dims_of, equations
from sod2jax.ir.primitives import ANY_BASIS
from sod2jax.ir.program import Program
from sod2jax.ir.vocabulary import CALLS
from sod2jax.passes.bases import flow, zeros
from sod2jax.passes.bases.values import PLAIN, Basis, Spectral, Value


def freed(program: Program) -> Program:
    """The program with primitives of any basis where the choice of vectors cancels."""
    found = [eqn for eqn in equations(program.jaxpr) if _has_vectors(eqn)]
    if not found:
        return program
    analysis = _Analysis()
    numbers = program.numbers_by_variable
    positive = {var for var, x in numbers.items() if x.number.is_never_negative}
    analysis.whole(program.jaxpr, positive)
    free = {id(eqn) for eqn in found if id(eqn) not in analysis.dependent}
    return program.with_jaxpr(_marked(program.jaxpr, free)) if free else program


def _has_vectors(eqn: JaxprEqn) -> bool:
    name, rank = eqn.primitive.name, len(eqn.invars[0].aval.shape) if eqn.invars else 0
    if name not in ANY_BASIS or not any(map(_compat.is_symbolic, eqn.invars[0].aval.shape[-2:])):
        return False
    if eqn.params["subset_by_index"] is not None or rank < 2:
        return False
    return name == "eigh" or (eqn.params["compute_uv"] and not eqn.params["full_matrices"])


def _marked(jaxpr: Jaxpr, free: set[int]) -> Jaxpr:
    def marked(eqn: JaxprEqn) -> JaxprEqn:
        if id(eqn) not in free:
            return surgery.with_bodies(eqn, lambda body: _marked(body, free))
        primitive = ANY_BASIS[eqn.primitive.name]
        return _compat.new_equation(primitive, eqn.invars, eqn.outvars, eqn.params, like=eqn)

    return surgery.mapped(jaxpr, marked)


class _Source:
    """One run of a decomposition."""

    def __init__(self, eqn: JaxprEqn):
        self.eqn = eqn


class _Analysis:
    """Follows vectors through a program; ``dependent`` has the ids of equations that decide it."""

    def __init__(self) -> None:
        self.dependent: set[int] = set()

    def whole(self, jaxpr: Jaxpr, positive: Container[Var] = ()) -> None:
        """Analyses a jaxpr of which nothing is known outside, but which inputs are 0 or more."""
        known = [dataclasses.replace(PLAIN, positive=v in positive) for v in jaxpr.invars]
        self._give_up(self._run(jaxpr, known))

    def _give_up(self, values: Sequence[Value]) -> None:
        """Vectors are seen as they are."""
        for value in values:
            self.dependent.update(id(basis.source.eqn) for basis in value.bases.values())

    def _run(self, jaxpr: Jaxpr, args: Sequence[Value]) -> list[Value]:
        env: dict[Var, Value] = dict(zip(jaxpr.invars, args, strict=True))

        def read(atom: Atom) -> Value:
            return zeros.literal(atom) if _compat.is_literal(atom) else env.get(atom, PLAIN)

        for eqn in jaxpr.eqns:
            results = self._after(eqn, [read(atom) for atom in eqn.invars])
            env.update(zip(eqn.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _after(self, eqn: JaxprEqn, operands: Sequence[Value]) -> list[Value]:
        bodies = [body for _, body in _compat.sub_jaxprs(eqn)]
        if _has_vectors(eqn):
            self._give_up(operands)
            return _decomposed(eqn)
        if eqn.primitive.name in CALLS and len(bodies) == 1:
            return self._run(bodies[0], operands)
        for body in bodies:
            self.whole(body)
        try:
            return flow.after(eqn, operands)
        except flow.DependsOnBasis:
            self._give_up(operands)
            return [PLAIN] * len(eqn.outvars)


def _decomposed(eqn: JaxprEqn) -> list[Value]:
    """What is known of values and vectors, the latter [..., n, k], or [..., k, m] of the right."""
    source, shape = _Source(eqn), dims_of(eqn.invars[0])
    last = len(shape) - 1
    values = Value({last - 1: Spectral(source)}, at_zero=0.0)
    if eqn.primitive.name == "eigh":
        return [Value({last: Basis(source, 0, complete=True)}), values]
    count = dims_of(eqn.outvars[0])[-1]
    conjugate = np.issubdtype(eqn.invars[0].aval.dtype, np.complexfloating)
    left = Basis(source, 0, complete=shape[-2] == count)
    right = Basis(source, 1, conjugate, complete=shape[-1] == count)
    positive = dataclasses.replace(values, positive=True)
    return [positive, Value({last: left}), Value({last - 1: right})]
