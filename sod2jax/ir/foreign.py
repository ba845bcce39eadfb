"""Primitives that neither JAX nor this package registered: what a program has in their place.

The rules of all stages know primitives by name, and another package may call its own by a name of
JAX's. So no stage sees a foreign primitive: right after a trace, each of its equations is replaced.
What the primitive computes is traced in its place: the function that a user registered, or that its
lowering rule was made of, or its ``impl``. Where no symbol touches it, and JAX would not trace a
function to lower it, a *stand-in* of a name of its own binds the primitive as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr, JaxprEqn
from sod2jax.errors import SpecError, UnsupportedPrimitiveError
from sod2jax.ir import vocabulary
from sod2jax.ir.jaxprs import dims_of, mentions
from sod2jax.ir.surgery import mapped, with_bodies

__all__ = ["edition", "opened", "register_rule"]

_REDUCERS = vocabulary.GENERAL_REDUCTIONS | vocabulary.SCATTERS
_WITH_BODIES = frozenset().union(
    vocabulary.CALLS,
    vocabulary.CONDITIONALS,
    vocabulary.LOOPS,
    vocabulary.LINEAR_SOLVES,
    _REDUCERS,
    "reduce_window select_and_scatter".split(),
)

# What users registered.
_FUNCTIONS: dict[Any, Callable[..., Any]] = {}
_LANEWISE: set[Any] = set()
_registered: list[Any] = []  # primitives, one for each registration


def edition() -> int:
    """Another number after each registration: calls are planned for the rules that there are."""
    return len(_registered)


def register_rule(
    primitive: Any, function: Callable[..., Any] | None = None, *, elementwise: bool = False
) -> None:
    """Says how a primitive that is not JAX's own runs on padded arrays.

    It concerns equations where a symbolic dimension is; elsewhere a primitive is bound as it is.
    Without a rule, the function that ``mlir.lower_fun`` made its lowering rule of, or its ``impl``,
    is traced in its place, where JAX can trace it.

    A later rule of a primitive replaces the earlier one, as where a notebook's cell runs again.
    Functions that have been called already are planned anew.

    Args:
      primitive: a ``jax.extend.core.Primitive``.
      function: what the primitive computes, in operations that JAX can trace: takes its operands,
        and its parameters by name, and returns its result, or the list of its results. It is traced
        in the primitive's place, with symbolic shapes, after derivatives were taken.
      elementwise: in place of a function: each element of the one result depends on the same
        element of each operand only, where operands have its shape, or none. The primitive is then
        bound as it is, on padded arrays.

    Raises:
      SpecError: the primitive is JAX's own; or not exactly one of ``function`` and
        ``elementwise`` is given.
      TypeError: it is no primitive, or the function cannot be called.
    """
    if not isinstance(primitive, _compat.Primitive):
        raise TypeError(
            f"register_rule takes a jax.extend.core.Primitive, which a package's operations bind, "
            f"not {primitive!r} of type {type(primitive).__name__}"
        )
    if not _compat.is_foreign(primitive):
        raise SpecError(f"register_rule: '{primitive}' is JAX's own, whose rules sod2jax has")
    if (function is None) != elementwise:
        raise SpecError("register_rule takes either a function, or elementwise=True")
    if not (function is None or callable(function)):
        raise TypeError(f"register_rule: what '{primitive}' computes is no function: {function!r}")
    _FUNCTIONS.pop(primitive, None)
    _LANEWISE.discard(primitive)
    if function is None:
        _LANEWISE.add(primitive)
    else:
        _FUNCTIONS[primitive] = function
    _registered.append(primitive)


def opened(jaxpr: Jaxpr, always: bool = False) -> Jaxpr:
    """The jaxpr with something of JAX's or ours in place of each foreign primitive, however deep.

    Args:
      jaxpr: as it was traced; itself if it has no foreign primitive.
      always: also traces what primitives compute that no symbol touches, if that can be traced: so
        jaxprs of symbolic and of concrete sizes become alike.

    Raises:
      UnsupportedPrimitiveError: what a primitive computes cannot be traced with symbolic sizes.
    """
    return _Opener(always).jaxpr(jaxpr)


def _is_lowered_so(primitive: Any) -> bool:
    """Whether JAX itself traces what a primitive computes, to lower it."""
    return primitive not in _FUNCTIONS and _compat.lowered_function(primitive) is not None


class _Opener:
    def __init__(self, always: bool):
        self._always = always
        self._done: dict[int, tuple[Jaxpr, Jaxpr]] = {}

    def jaxpr(self, jaxpr: Jaxpr) -> Jaxpr:
        """The jaxpr opened; one that stands in several places stays one."""
        if id(jaxpr) not in self._done:
            self._done[id(jaxpr)] = (jaxpr, mapped(jaxpr, self._equation))
        return self._done[id(jaxpr)][1]

    def _equation(self, eqn: JaxprEqn) -> JaxprEqn:
        if self._always:
            eqn = _compat.with_original(eqn)
        if not _compat.is_foreign(eqn.primitive):
            return with_bodies(eqn, self.jaxpr, _WITH_BODIES)
        symbolic = _is_symbolic(eqn)
        if eqn.primitive in _LANEWISE and _is_lanewise(eqn):
            return _renamed(eqn, "lanewise" if symbolic and not self._always else None)
        if symbolic or self._always or _is_lowered_so(eqn.primitive):
            body = self._meaning(eqn, symbolic)
            if body is not None and _is_alike(body, eqn, symbolic):
                return _compat.call_equation(self.jaxpr(body), eqn.invars, eqn.outvars, like=eqn)
        return _renamed(eqn)

    def _meaning(self, eqn: JaxprEqn, needed: bool) -> Jaxpr | None:
        """What an equation's primitive computes; None where there is no function that says so."""
        registered = _FUNCTIONS.get(eqn.primitive)
        if registered and needed:
            _check_signature(eqn)
        functions = [registered] if registered else _compat.meanings(eqn.primitive)
        failures: list[Exception] = []
        for function in functions:
            for literals_known in (False, True):
                try:
                    body = _traced(function, eqn, literals_known)
                except Exception as error:  # it may raise anything, given tracers
                    failures.append(error)
                    continue
                if not _is_itself(body, eqn):
                    return body
        if not failures or not needed:
            return None
        error = failures[0]
        raise UnsupportedPrimitiveError(
            _name(eqn),
            _compat.source_line(eqn),
            f"what it computes cannot be traced with symbolic sizes ({type(error).__name__}: "
            f"{str(error).strip().partition(chr(10))[0]}); {_REMEDY}",
        ) from error


def _check_signature(eqn: JaxprEqn) -> None:
    """Refuses a registered function that does not take what the equation has."""
    function = _FUNCTIONS[eqn.primitive]
    try:
        inspect.signature(function).bind(*eqn.invars, **eqn.params)
    except TypeError as error:
        operands = [f"x{k}" for k in range(len(eqn.invars))]
        call = ", ".join((*operands, *(f"{name}=..." for name in eqn.params)))
        raise UnsupportedPrimitiveError(
            _name(eqn),
            _compat.source_line(eqn),
            f"the function that register_rule has for it is called as function({call}): the "
            f"operands by position, the parameters by name; this one does not take that ({error})",
        ) from error
    except ValueError:
        return  # compiled code, of which no signature is known


_REMEDY = "say what it computes by sod2jax.register_rule, or keep symbolic dimensions away from it"


def _traced(function: Callable[..., Any], eqn: JaxprEqn, literals_known: bool) -> Jaxpr:
    """The jaxpr of a function in place of an equation.

    Args:
      function: takes the equation's operands, and its parameters by name.
      eqn: the equation.
      literals_known: whether the function is given literals as NumPy arrays; they lose what they
        promise of promotion by that.
    """
    known = [literals_known and _compat.is_literal(atom) for atom in eqn.invars]
    specs = [
        jax.ShapeDtypeStruct(a.aval.shape, a.aval.dtype, weak_type=a.aval.weak_type)
        for a in eqn.invars
    ]

    def run(*operands: Any) -> list[Any]:
        given = [
            _compat.literal_array(atom) if is_known else operand
            for atom, operand, is_known in zip(eqn.invars, operands, known, strict=True)
        ]
        return jax.tree.leaves(function(*given, **eqn.params))

    with _compat.equation_scope(eqn):
        return jax.jit(run).trace(*specs).jaxpr


def _is_alike(body: Jaxpr, eqn: JaxprEqn, needed: bool) -> bool:
    """Whether a body gives what an equation gives, by shapes and dtypes."""
    got, wanted = ([_kind(atom) for atom in atoms] for atoms in (body.outvars, eqn.outvars))
    if got == wanted or not needed:
        return got == wanted
    raise UnsupportedPrimitiveError(
        _name(eqn),
        _compat.source_line(eqn),
        f"the function in its place gives {got}, it gives {wanted}; {_REMEDY}",
    )


def _kind(atom: Atom) -> tuple[Any, Any]:
    return atom.aval.dtype, dims_of(atom)


def _is_itself(jaxpr: Jaxpr, eqn: JaxprEqn) -> bool:
    """Whether a function in place of an equation does no more than to bind it."""
    if len(jaxpr.eqns) != 1:
        return False
    (inner,) = jaxpr.eqns
    if inner.primitive is eqn.primitive:
        return all(inner.params[k] is v or inner.params[k] == v for k, v in eqn.params.items())
    bodies = [body for _, body in _compat.sub_jaxprs(inner)]
    return inner.primitive.name in vocabulary.CALLS and _is_itself(bodies[0], eqn)


def _is_symbolic(eqn: JaxprEqn) -> bool:
    unmistakable = _renamed(eqn)  # the name may be one that is read in some way
    return bool(mentions(unmistakable)) or any(map(_has_symbol, eqn.params.values()))


def _has_symbol(param: Any) -> bool:
    """Whether a parameter, or what it holds, is or has a symbolic dimension."""
    if isinstance(param, dict):
        return any(map(_has_symbol, param.values()))
    if isinstance(param, (tuple, list)):
        return any(map(_has_symbol, param))
    shape = getattr(param, "shape", None)
    return _compat.is_symbolic(param) or (isinstance(shape, tuple) and _has_symbol(shape))


def _is_lanewise(eqn: JaxprEqn) -> bool:
    """Whether an equation has the form of what works lane by lane."""
    shapes = {dims_of(var) for var in eqn.outvars}
    operands = {dims_of(atom) for atom in eqn.invars} - {()}
    plain = not any(map(_has_symbol, eqn.params.values()))
    return plain and len(eqn.outvars) == 1 and operands == shapes


def _renamed(eqn: JaxprEqn, name: str | None = None) -> JaxprEqn:
    return eqn.replace(primitive=_compat.stand_in(eqn.primitive, name))


def _name(eqn: JaxprEqn) -> str:
    return _compat.stand_in(eqn.primitive).name
