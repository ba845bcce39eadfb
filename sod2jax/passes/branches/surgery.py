"""Surgery on jaxprs: copies with fresh variables, inlining, pruning, rebuilt bodies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jax import lax

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.ir.jaxprs import equations as equations
from sod2jax.ir.program import Program
from sod2jax.ir.vocabulary import CALLS, CONDITIONALS, LOOPS

Env = Mapping[Any, Any]
Atoms = Sequence[Any]

_UNKNOWN = "unknown source"


def read(env: Env, atom: Atom) -> Any:
    """What stands for an operand."""
    return atom if _compat.is_literal(atom) else env.get(atom, atom)


def variables(atoms: Atoms) -> list[Any]:
    """The operands that are no literals."""
    return [atom for atom in atoms if not _compat.is_literal(atom)]


def counted(number: int) -> str:
    """So many equations, in words."""
    return f"{number} equation{'' if number == 1 else 's'}"


def is_cond(eqn: JaxprEqn) -> bool:
    """Whether an equation is a conditional whose index is computed at run time."""
    return eqn.primitive.name == "cond" and eqn.params.get("branches_platforms") is None


def has_cond(jaxpr: Jaxpr) -> bool:
    """Whether there is a conditional anywhere in a jaxpr."""
    return any(map(is_cond, equations(jaxpr)))


def is_plain(eqn: JaxprEqn) -> bool:
    """Whether a conditional may be rebuilt: no effects, and no constants in its branches."""
    return not eqn.effects and not any(branch.constvars for branch in eqn.params["branches"])


@dataclasses.dataclass(frozen=True, eq=False)
class Copier:
    """Copies equations with fresh variables.

    Attributes:
      origin: of each fresh variable, the variable that it is a copy of.
    """

    origin: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def fresh(self, var: Any) -> Any:
        """A new variable like another one."""
        new = _compat.new_variable(var.aval)
        self.origin[new] = self.original(var)
        return new

    def original(self, atom: Atom) -> Any:
        """The variable that analyses know."""
        return atom if _compat.is_literal(atom) else self.origin.get(atom, atom)

    def copies(
        self, eqns: Sequence[JaxprEqn], env: dict[Any, Any], within: JaxprEqn = None
    ) -> list[Any]:
        """Copies of equations; ``env`` says what stands for variables, and learns the results.

        Where an equation does not know its line in the user's code, it gets that of ``within``.
        """
        new = []
        for eqn in eqns:
            lost = within is not None and _compat.source_line(eqn) == _UNKNOWN
            outs = [self.fresh(var) for var in eqn.outvars]
            new.append(
                _compat.new_equation(
                    eqn.primitive,
                    [read(env, atom) for atom in eqn.invars],
                    outs,
                    eqn.params,
                    like=within if lost else eqn,
                    effects=eqn.effects,
                )
            )
            env.update(zip(eqn.outvars, outs, strict=True))
        return new

    def inlined(self, jaxpr: Jaxpr, args: Atoms, within: JaxprEqn) -> tuple[list[Any], list[Any]]:
        """The equations of a jaxpr on other operands, and its outputs; with the line of a call."""
        if jaxpr.constvars:
            outs = [_compat.new_variable(var.aval) for var in jaxpr.outvars]
            return [_compat.call_equation(jaxpr, args, outs, like=within)], outs
        env = dict(zip(jaxpr.invars, args, strict=True))
        new = self.copies(jaxpr.eqns, env, within)
        return new, [read(env, atom) for atom in jaxpr.outvars]


def opened(eqns: Sequence[JaxprEqn], outputs: Atoms, copier: Copier) -> tuple[list[Any], list[Any]]:
    """Equations and outputs with ``jit`` calls inlined that have conds directly inside."""
    new: list[Any] = []
    env: dict[Any, Any] = {}
    for eqn in replaced_in_turn(eqns, env):
        if not _opens(eqn):
            new.append(eqn)
            continue
        body, outs = copier.inlined(eqn.params["jaxpr"], eqn.invars, eqn)
        body, outs = opened(body, outs, copier)
        new += body
        env.update(zip(eqn.outvars, outs, strict=True))
    return new, [read(env, atom) for atom in outputs]


def _opens(eqn: JaxprEqn) -> bool:
    if eqn.primitive.name != "jit" or eqn.params["jaxpr"].constvars:
        return False
    return any(is_cond(inner) or _opens(inner) for inner in eqn.params["jaxpr"].eqns)


def pruned(eqns: Sequence[JaxprEqn], outputs: Atoms) -> list[Any]:
    """The equations that the outputs need, and those with effects."""
    needed, kept = set(variables(outputs)), []
    for eqn in reversed(eqns):
        if eqn.effects or any(var in needed for var in eqn.outvars):
            needed.update(variables(eqn.invars))
            kept.append(eqn)
    return kept[::-1]


def replaced(eqns: Sequence[JaxprEqn], env: Env) -> list[Any]:
    """The equations with other variables for some of their operands."""
    return [
        eqn.replace(invars=[read(env, atom) for atom in eqn.invars])
        if any(atom in env for atom in variables(eqn.invars))
        else eqn
        for eqn in eqns
    ]


def replaced_in_turn(eqns: Sequence[JaxprEqn], env: Env) -> Iterator[Any]:
    """Yields each equation with what ``env``, which may grow meanwhile, has for its operands."""
    for eqn in eqns:
        yield from replaced([eqn], env)


def used_in(jaxpr: Jaxpr) -> set[Any]:
    """The variables that the equations and outputs of a jaxpr use."""
    used = set(variables(jaxpr.outvars))
    for eqn in jaxpr.eqns:
        used.update(variables(eqn.invars))
    return used


Branch = tuple[list[Any], list[Any]]  # equations and outputs, over the operands of the cond


def cond_of(
    index: Any, operands: Atoms, branches: Sequence[Branch], outvars: Atoms, like: Any
) -> Any:
    """A cond whose branches are given by equations that use the operands directly.

    Operands that no branch uses, and equations that no output needs, are left out.
    """
    branches = [(pruned(eqns, outs), outs) for eqns, outs in branches]
    used = {v for eqns, outs in branches for v in variables(outs)}
    used |= {v for eqns, _ in branches for eqn in eqns for v in variables(eqn.invars)}
    kept = [var for var in dict.fromkeys(variables(operands)) if var in used]
    jaxprs = []
    for eqns, outs in branches:
        env = {var: _compat.new_variable(var.aval) for var in kept}
        body, ends = replaced(eqns, env), [read(env, atom) for atom in outs]
        template = like.params["branches"][0]
        jaxprs.append(_compat.closed_jaxpr(list(env.values()), ends, body, like=template))
    params = {**like.params, "branches": tuple(jaxprs)}
    return _compat.new_equation(like.primitive, [index, *kept], outvars, params, like=like)


_WITH_BODIES = CALLS | CONDITIONALS | LOOPS


def with_bodies(eqn: JaxprEqn, change: Callable[[Any], Any]) -> Any:
    """The equation with each jaxpr among its parameters changed; the same one if none was.

    Kernels, which have jaxprs over references, and other primitives of their own kind stay.
    """
    if eqn.primitive.name not in _WITH_BODIES:
        return eqn
    params = {name: _changed(value, change) for name, value in eqn.params.items()}
    if all(params[name] is value for name, value in eqn.params.items()):
        return eqn
    return eqn.replace(params=params)


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    if _compat.is_jaxpr(value):
        return change(value)
    if not isinstance(value, (tuple, list)) or not any(map(_compat.is_jaxpr, value)):
        return value
    items = [change(item) if _compat.is_jaxpr(item) else item for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def with_jaxpr(program: Program, jaxpr: Jaxpr) -> Program:
    """The program with another jaxpr, which has some of its constants."""
    before = _compat.all_constants(program.jaxpr)
    known = {id(value): k for k, value in enumerate(before)}
    kept = tuple(program.constants[known[id(c)]] for c in _compat.all_constants(jaxpr))
    return dataclasses.replace(program, jaxpr=jaxpr, constants=kept)


def selection(which: Any, cases: Atoms, outvar: Any, like: Any) -> Any:
    """``outvar = select_n(which, *cases)`` by a scalar."""
    return _compat.new_equation(lax.select_n_p, [which, *cases], [outvar], {}, like=like)


def literal(value: Any, like: Any) -> Any:
    """A literal with the type of a variable."""
    return _compat.new_literal(value, like.aval)


def dependents(eqns: Iterable[JaxprEqn], roots: Iterable[Any]) -> set[Any]:
    """The roots, and all variables that equations compute from them."""
    found = set(roots)
    for eqn in eqns:
        if any(atom in found for atom in variables(eqn.invars)):
            found.update(eqn.outvars)
    return found
