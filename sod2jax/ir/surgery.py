"""Surgery on jaxprs: copies with fresh variables, inlining, dead code, other bodies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn, Var
from sod2jax.ir.jaxprs import Env, read, scope_of, variables
from sod2jax.ir.vocabulary import CALLS, CONDITIONALS, LOOPS

# Calls that say nothing of their body to the compiler.
PLAIN_CALLS = CALLS - {"composite", "remat2", "remat_opt", "xla_metadata_call"}
_WITH_BODIES = CALLS | CONDITIONALS | LOOPS


@dataclasses.dataclass(frozen=True, eq=False)
class Copier:
    """Copies equations with fresh variables.

    Attributes:
      origin: of each fresh variable, the variable that it is a copy of.
    """

    origin: dict[Var, Var] = dataclasses.field(default_factory=dict)

    def fresh(self, var: Var) -> Var:
        """A new variable like another one."""
        new = _compat.new_variable(var.aval)
        self.origin[new] = self.original(var)
        return new

    def original(self, atom: Atom) -> Atom:
        """The variable that analyses know."""
        return read(self.origin, atom)

    def copies(
        self, eqns: Sequence[JaxprEqn], env: dict[Var, Any], within: JaxprEqn = None
    ) -> list[JaxprEqn]:
        """Copies of equations; ``env`` says what stands for variables, and learns the results.

        Those of the body of ``within`` get its names before their own, and its line in the user's
        code where they know none.
        """
        new, name = [], scope_of(within) if within is not None else ""
        for eqn in eqns:
            outs = [self.fresh(var) for var in eqn.outvars]
            invars = [read(env, atom) for atom in eqn.invars]
            copy = _compat.new_equation(
                eqn.primitive, invars, outs, eqn.params, like=eqn, effects=eqn.effects
            )
            new.append(copy if within is None else _compat.below(copy, within, name))
            env.update(zip(eqn.outvars, outs, strict=True))
        return new

    def body(
        self, jaxpr: Jaxpr, args: Sequence[Atom], within: JaxprEqn
    ) -> tuple[list[JaxprEqn], list[Atom]]:
        """The equations of a call's body on other operands, and its outputs.

        Variables of constants stay as they are.
        """
        env = dict(zip(jaxpr.invars, args, strict=True))
        new = self.copies(jaxpr.eqns, env, within)
        return new, [read(env, atom) for atom in jaxpr.outvars]


def inlined(jaxpr: Jaxpr, chosen: Callable[[JaxprEqn], bool], copier: Copier) -> Jaxpr:
    """A jaxpr with the bodies of calls in place of the calls that are chosen, however deep.

    Where such a body has constants they become the jaxpr's own, which then must be closed.
    """
    constants: dict[Var, Any] = {}

    def opened(
        eqns: Sequence[JaxprEqn], outputs: Sequence[Atom]
    ) -> tuple[list[JaxprEqn], list[Atom]]:
        new: list[JaxprEqn] = []
        env: dict[Var, Any] = {}
        for eqn in replaced_in_turn(eqns, env):
            if eqn.primitive.name not in CALLS or not chosen(eqn):
                new.append(eqn)
                continue
            ((_, inner),) = _compat.sub_jaxprs(eqn)
            constants.update(zip(inner.constvars, _compat.constants(inner), strict=True))
            body, outs = opened(*copier.body(inner, eqn.invars, eqn))
            new += body
            env.update(zip(eqn.outvars, outs, strict=True))
        return new, [read(env, atom) for atom in outputs]

    new = _compat.with_equations(jaxpr, *opened(jaxpr.eqns, jaxpr.outvars))
    if not constants:
        return new
    constvars = [*jaxpr.constvars, *constants]
    return _compat.with_constants(new, constvars, [*_compat.constants(jaxpr), *constants.values()])


def pruned(eqns: Sequence[JaxprEqn], outputs: Sequence[Atom]) -> list[JaxprEqn]:
    """The equations that the outputs need, and those with effects, in their order."""
    needed, kept = set(variables(outputs)), []
    for eqn in reversed(eqns):
        if eqn.effects or not needed.isdisjoint(eqn.outvars):
            needed.update(variables(eqn.invars))
            kept.append(eqn)
    return kept[::-1]


def ordered(eqns: Sequence[JaxprEqn]) -> list[JaxprEqn]:
    """Equations so that each stands behind those that it reads; otherwise in their order."""
    return _behind_reads(eqns, eqns, -1)


def depth_first(eqns: Sequence[JaxprEqn], outputs: Sequence[Atom]) -> list[JaxprEqn]:
    """Equations so that each stands right behind those that it reads, as far as they are new."""
    makers = {var: eqn for eqn in eqns for var in eqn.outvars}
    roots = [makers[var] for var in variables(outputs) if var in makers]
    return _behind_reads(eqns, [*roots, *(eqn for eqn in eqns if eqn.effects)], 0)


def _behind_reads(
    eqns: Sequence[JaxprEqn], starts: Sequence[JaxprEqn], first: int
) -> list[JaxprEqn]:
    """Equations from which some are reached, each behind those that it reads.

    ``first``: which of those that it reads and that are missing comes first.
    """
    makers = {var: eqn for eqn in eqns for var in eqn.outvars}
    done: dict[int, JaxprEqn] = {}
    for start in starts:
        stack = [start]
        while stack:
            eqn = stack[-1]
            reads = [makers[var] for var in variables(eqn.invars) if var in makers]
            missing = [maker for maker in reads if id(maker) not in done]
            if id(eqn) not in done and missing:
                stack.append(missing[first])
                continue
            done.setdefault(id(stack.pop()), eqn)
    return list(done.values())


def mapped(jaxpr: Jaxpr, change: Callable[[JaxprEqn], JaxprEqn]) -> Jaxpr:
    """The jaxpr with each equation changed; itself if none was."""
    eqns = list(map(change, jaxpr.eqns))
    if all(new is old for new, old in zip(eqns, jaxpr.eqns, strict=True)):
        return jaxpr
    return _compat.with_equations(jaxpr, eqns)


def replaced(eqns: Sequence[JaxprEqn], env: Env) -> list[JaxprEqn]:
    """The equations with other variables for some of their operands."""
    return [
        eqn.replace(invars=[read(env, atom) for atom in eqn.invars])
        if any(var in env for var in variables(eqn.invars))
        else eqn
        for eqn in eqns
    ]


def replaced_in_turn(eqns: Sequence[JaxprEqn], env: Env) -> Iterator[JaxprEqn]:
    """Yields each equation with what ``env``, which may grow meanwhile, has for its operands."""
    for eqn in eqns:
        yield from replaced([eqn], env)


def with_bodies(
    eqn: JaxprEqn, change: Callable[[Jaxpr], Jaxpr], kinds: Container[str] = _WITH_BODIES
) -> JaxprEqn:
    """The equation with each jaxpr among its parameters changed; the same one if none was.

    Kernels, which have jaxprs over references, and other primitives that are not of these kinds
    stay.
    """
    if eqn.primitive.name not in kinds:
        return eqn
    params = {name: _changed(value, change) for name, value in eqn.params.items()}
    if all(params[name] is value for name, value in eqn.params.items()):
        return eqn
    return eqn.replace(params=params)


def _changed(value: Any, change: Callable[[Jaxpr], Jaxpr]) -> Any:
    if _compat.is_jaxpr(value):
        return change(value)
    if not isinstance(value, (tuple, list)) or not any(map(_compat.is_jaxpr, value)):
        return value
    items = [change(item) if _compat.is_jaxpr(item) else item for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
