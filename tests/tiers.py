"""Which harnesses `make test` leaves out: those that repeat what others show.

An equation's kind is what a rule of ours can tell: its primitive, which axes of its operands are
symbolic, which have size 1, what kind of numbers they hold, and its modes. A harness is a
repetition if the others show all kinds of its equations. What is refused, and what users reported,
never is.

Run `python -m tests.tiers` from the root of the repository to choose the repetitions anew. A new
harness is none until then.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp

from sod2jax._compat import Atom, JaxprEqn
from sod2jax.ir import jaxprs
from tests.harnesses import Harness, all_harnesses, reported, reported_layers

LIST = Path(__file__).parent / "harnesses" / "repetitions.txt"
REPORTED = frozenset(h.name for h in [*reported.HARNESSES, *reported_layers.HARNESSES])
_COMPILING = 120  # what every harness costs, in equations
_NUMBERS = (jnp.bool_, jnp.unsignedinteger, jnp.integer, jnp.floating, jnp.complexfloating)


def repetitions() -> frozenset[str]:
    """The names of the harnesses that only `make test-all` runs."""
    return frozenset(LIST.read_text(encoding="utf-8").split())


def primitives(harness: Harness) -> frozenset[str]:
    """The primitives that a harness binds at the sizes of its bucket."""
    specs = [jax.ShapeDtypeStruct(arg.shape(harness.full), arg.dtype) for arg in harness.args]
    jaxpr = jax.make_jaxpr(harness.fun)(*specs).jaxpr
    return frozenset(eqn.primitive.name for eqn in jaxprs.equations(jaxpr))


def kinds(harness: Harness) -> list[Hashable]:
    """The kind of each equation of a harness's symbolic program; none where it is refused."""
    if harness.exact is not None:
        return []
    specs = [jax.ShapeDtypeStruct(arg.shape(harness.full), arg.dtype) for arg in harness.args]
    program = harness.optimized().analyse(*specs).program
    return [_kind(eqn) for eqn in jaxprs.equations(program.jaxpr)]


def _kind(eqn: JaxprEqn) -> Hashable:
    modes = [
        (name, str(value))
        for name, value in sorted(eqn.params.items())
        if value is None or isinstance(value, (bool, str, enum.Enum))
    ]
    return (eqn.primitive.name, tuple(map(_operand, eqn.invars)), tuple(modes))


def _operand(atom: Atom) -> tuple[str, str]:
    dtype = getattr(atom.aval, "dtype", None)
    numbers = [n.__name__ for n in _NUMBERS if dtype is not None and jnp.issubdtype(dtype, n)]
    return "".join(map(_axis, jaxprs.dims_of(atom))), numbers[0] if numbers else ""


def _axis(size: object) -> str:
    if not isinstance(size, int):
        return "s"
    return "1" if size == 1 else "n"


def choose(table: Mapping[str, Harness]) -> list[str]:
    """The repetitions of a table: what is not needed to show every kind, at little cost."""
    listed = {name: kinds(harness) for name, harness in table.items()}
    shown = {name: frozenset(of_equations) for name, of_equations in listed.items()}
    kept = {name for name, harness in table.items() if harness.exact or name in REPORTED}
    missing = union(shown.values()) - union(shown[name] for name in kept)
    while missing:
        best = max(
            shown, key=lambda n: (len(shown[n] & missing) / (_COMPILING + len(listed[n])), n)
        )
        kept.add(best)
        missing -= shown[best]
    return sorted(table.keys() - kept)


def union(sets: Iterable[frozenset[Hashable]]) -> frozenset[Hashable]:
    """All that is in any of them."""
    return frozenset().union(*sets)


if __name__ == "__main__":
    LIST.write_text("\n".join(choose(all_harnesses())) + "\n", encoding="utf-8")
