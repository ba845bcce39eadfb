"""Symbolic dimensions as sympy expressions: parsing, equality, bounds and evaluation.

A dimension is an ``int`` or a sympy expression over positive integer symbols. JAX's own
expressions are read through their documented text form, so no private class is touched.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from sympy.printing.precedence import PRECEDENCE

from sod2jax import _compat
from sod2jax.errors import SpecError

Dim = int | sympy.Expr

# JAX's dimensions by identity, each kept alive beside its value: a program has few objects and asks
# often, and JAX takes long to compare two of them.
_known: dict[int, tuple[Any, Dim]] = {}
_MOST_KNOWN = 8192


class _Quotient(sympy.Function):
    """Printed as Python writes it, in parentheses wherever ``*`` would have none."""

    nargs = 2
    precedence = PRECEDENCE["Mul"] - 1
    operator: str

    def _sympystr(self, printer: Any) -> str:
        left, right = (printer.parenthesize(arg, PRECEDENCE["Mul"]) for arg in self.args)
        return f"{left}{self.operator}{right}"


class floordiv(_Quotient):
    """Quotient rounded towards minus infinity; kept as written, as ``jax.export`` does."""

    operator = "//"

    @classmethod
    def eval(cls, *args: Any) -> Any:
        """Evaluates at integers, and where the divisor is 1."""
        a, b = args
        if b == 1:
            return a
        if b == 0:
            raise ZeroDivisionError(f"floordiv({a}, 0)")
        if a.is_Integer and b.is_Integer:
            return sympy.Integer(int(a) // int(b))
        return None


class mod(_Quotient):
    """Remainder with the sign of the divisor."""

    operator = " % "

    @classmethod
    def eval(cls, *args: Any) -> Any:
        """Evaluates at integers, and where the divisor is 1."""
        a, b = args
        if b == 1:
            return sympy.Integer(0)
        if b == 0:
            raise ZeroDivisionError(f"mod({a}, 0)")
        if a.is_Integer and b.is_Integer:
            return sympy.Integer(int(a) % int(b))
        return None


class _Extremum(sympy.Function):
    nargs = 2
    choose: Callable[[int, int], int]
    name_in_python: str

    def _sympystr(self, printer: Any) -> str:
        return f"{self.name_in_python}({', '.join(map(printer.doprint, self.args))})"

    @classmethod
    def eval(cls, *args: Any) -> Any:
        """Evaluates at integers, and at equal arguments."""
        a, b = args
        if a == b:
            return a
        if a.is_Integer and b.is_Integer:
            return sympy.Integer(cls.choose(int(a), int(b)))
        return None


class maximum(_Extremum):
    """The larger of two dimensions."""

    choose = staticmethod(lambda a, b: max(a, b))
    name_in_python = "max"


class minimum(_Extremum):
    """The smaller of two dimensions."""

    choose = staticmethod(lambda a, b: min(a, b))
    name_in_python = "min"


_CALLS = {"floordiv": floordiv, "mod": mod, "max": maximum, "min": minimum}
_RESERVED = frozenset([*_CALLS, "_max", "_min"])
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Pow: lambda a, b: a**b,
    ast.FloorDiv: floordiv,
    ast.Mod: mod,
}


@functools.cache
def symbol(name: str) -> sympy.Symbol:
    """The symbol of a dimension variable: a positive integer."""
    return sympy.Symbol(name, integer=True, positive=True)


@functools.cache
def parse(text: str) -> Dim:
    """Reads an expression in the grammar of ``jax.export.symbolic_shape``.

    Raises:
      SpecError: the text is not an integer expression over dimension variables.
    """
    try:
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval").body
        dim = normalise(_build(tree))
        if is_symbolic(dim):
            _code(dim)  # raises if it is no integer polynomial
        return dim
    except (SyntaxError, ValueError, TypeError, ZeroDivisionError) as error:
        raise SpecError(
            f"'{text.strip()}' is not a dimension expression: use integers, names, "
            "+ - * // %, max(a, b) and min(a, b)"
        ) from error


def _build(node: ast.expr) -> sympy.Expr:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return sympy.Integer(node.value)
    if isinstance(node, ast.Name) and node.id not in _RESERVED:
        return symbol(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_build(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_build(node.left), _build(node.right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        args = [_build(arg) for arg in node.args]
        return functools.reduce(_CALLS[node.func.id], args)
    raise ValueError(ast.dump(node))


def from_jax(dim: Any) -> Dim:
    """A dimension of an aval or an equation parameter."""
    if not _compat.is_symbolic(dim):  # first: symbolic ones say that they are ints
        return normalise(dim) if isinstance(dim, sympy.Expr) else int(dim)
    known = _known.get(id(dim))
    if known is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        known = _known[id(dim)] = dim, parse(_compat.dim_text(dim))
    return known[1]


def normalise(expr: sympy.Expr | int) -> Dim:
    """Canonical form: expanded polynomial over symbols and calls; numbers become ``int``."""
    if isinstance(expr, int):
        return expr
    expanded = sympy.expand(expr)
    return int(expanded) if expanded.is_Integer else expanded


@functools.lru_cache(maxsize=8192)
def folded(dim: Dim) -> Dim:
    """The dimension with ``mod(a, b)`` for ``a - b*floordiv(a, b)``, where that is shorter."""
    if isinstance(dim, int):
        return dim
    for whole in dim.atoms(floordiv):
        a, b = whole.args
        shorter = sympy.expand(dim - a + b * whole)
        if len(sympy.Add.make_args(shorter + mod(a, b))) < len(sympy.Add.make_args(dim)):
            return folded(normalise(shorter + mod(a, b)))
    return dim


@functools.lru_cache(maxsize=65536)
def _product(dims: tuple[Dim, ...]) -> Dim:
    return normalise(sympy.Mul(*dims))


def product(dims: Iterable[Dim]) -> Dim:
    """The product of dimensions; 1 for none."""
    dims = tuple(dims)
    if all(isinstance(d, int) for d in dims):
        return math.prod(dims)  # type: ignore[arg-type]
    return dims[0] if len(dims) == 1 else _product(dims)


def quotient(dim: Dim, divisor: Dim) -> Dim | None:
    """``dim / divisor`` where that is a polynomial with integer coefficients."""
    if divisor == 0:
        return None
    if isinstance(dim, int) and isinstance(divisor, int):
        return dim // divisor if dim % divisor == 0 else None
    divided: Any = sympy.div(sympy.sympify(dim), sympy.sympify(divisor), domain="ZZ")
    return normalise(divided[0]) if divided[1] == 0 else None


def is_symbolic(dim: Dim) -> bool:
    """Whether a dimension depends on a symbol."""
    return not isinstance(dim, int)


def is_polynomial(dim: Dim) -> bool:
    """Whether a dimension is symbolic, and a polynomial, so that it varies with its symbols."""
    return is_symbolic(dim) and not sympy.sympify(dim).atoms(sympy.Function)


def symbols_of(dim: Dim) -> frozenset[str]:
    """Names of the symbols in a dimension."""
    return frozenset() if isinstance(dim, int) else _symbols(dim)


def symbols_in(value: Any) -> frozenset[str]:
    """Names of the symbols in a dimension, JAX's or ours, or in all that a tuple or list holds."""
    if isinstance(value, (tuple, list)):
        return frozenset().union(*map(symbols_in, value))
    if isinstance(value, sympy.Expr) or _compat.is_symbolic(value):
        return symbols_of(from_jax(value))
    return frozenset()


@functools.lru_cache(maxsize=65536)
def _symbols(dim: Any) -> frozenset[str]:
    return frozenset(s.name for s in dim.free_symbols)


_OPERATORS = {
    floordiv: "{} // {}",
    mod: "{} % {}",
    maximum: "_max({}, {})",
    minimum: "_min({}, {})",
}


def _code(expr: Any) -> str:
    if expr.is_Symbol or expr.is_Integer:
        return str(expr)
    if expr.is_Add:
        return "(" + " + ".join(map(_code, expr.args)) + ")"
    if expr.is_Mul:
        return "(" + " * ".join(map(_code, expr.args)) + ")"
    if expr.is_Pow and expr.exp.is_Integer and expr.exp > 0:
        return "(" + " * ".join([_code(expr.base)] * int(expr.exp)) + ")"
    if expr.func in _OPERATORS:
        return "(" + _OPERATORS[expr.func].format(*map(_code, expr.args)) + ")"
    raise SpecError(
        f"dimension '{expr}' is not an integer polynomial over floordiv, mod, max and min"
    )


@functools.lru_cache(maxsize=65536)
def _compiled(dim: sympy.Expr) -> tuple[tuple[str, ...], Callable[..., Any]]:
    names = tuple(sorted(_symbols(dim)))
    space = {
        "_max": _elementwise(jnp.maximum, np.maximum, max),
        "_min": _elementwise(jnp.minimum, np.minimum, min),
    }
    return names, eval(f"lambda {', '.join(names)}: {_code(dim)}", space)


def _elementwise(
    traced: Callable[..., Any], concrete: Callable[..., Any], plain: Callable[..., Any]
) -> Callable[..., Any]:
    def call(a: Any, b: Any) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            return plain(a, b)
        in_jax = isinstance(a, jax.Array) or isinstance(b, jax.Array)
        return (traced if in_jax else concrete)(a, b)

    return call


def evaluate(dim: Dim, sizes: Mapping[str, Any]) -> Any:
    """The value of a dimension at given sizes: integers, NumPy arrays or traced scalars alike."""
    if isinstance(dim, int):
        return dim
    names, function = _compiled(dim)
    return function(*(sizes[name] for name in names))


def magnitude(dim: Any, largest: Mapping[str, int]) -> int:
    """A bound of the absolute values of a dimension and of all that it is made of.

    Args:
      dim: a dimension, or a part of one.
      largest: the largest absolute value of each symbol.
    """
    if isinstance(dim, int) or dim.is_Integer:
        return abs(int(dim))
    if dim.is_Symbol:
        return largest[dim.name]
    parts = [magnitude(arg, largest) for arg in dim.args]
    if dim.is_Add:
        return sum(parts)
    if dim.is_Pow:
        return parts[0] ** parts[1]
    return max(parts) if isinstance(dim, sympy.Function) else math.prod(parts)


@functools.lru_cache(maxsize=65536)
def wrapped(dim: Dim) -> Dim:
    """The dimension with all its integers in 32 bits: the same value, where that has so many."""
    if isinstance(dim, int):
        return dim
    large = [n for n in dim.atoms(sympy.Integer) if not -(1 << 31) <= int(n) < 1 << 31]
    smaller: Any = dim.xreplace({n: _in_32_bits(int(n)) for n in large})
    return normalise(smaller) if large else dim


def _in_32_bits(number: int) -> Any:
    return sympy.Integer((number + (1 << 31)) % (1 << 32) - (1 << 31))


def jax_text(dim: Dim) -> str:
    """A dimension in the grammar that ``jax.export.symbolic_shape`` reads."""
    if isinstance(dim, int):
        return str(dim)
    names = {function: name for name, function in _CALLS.items()}
    renamed = dim.replace(
        lambda e: e.func in names, lambda e: sympy.Function(names[e.func])(*e.args)
    )
    return str(renamed).replace("**", "^")
