"""From arguments and specs to named leaves, and from leaves to the sizes of symbols."""

from __future__ import annotations

import bisect
import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import sympy

from sod2jax.arguments.calls import abstract_argument, shortened
from sod2jax.errors import ShapeError, SpecError, counted
from sod2jax.ir import dims
from sod2jax.ir.dims import Dim

_ELLIPSIS = "..."
_BESIDES = "'_' takes the size of the call, and '...' any fixed axes, as in 'n, _' or 'n, ...'"


@dataclasses.dataclass(frozen=True, repr=False)
class Leaf:
    """One array of a call, abstractly.

    Attributes:
      name: how a user would write it, such as ``x['mask']``.
      aval: JAX's abstract value at the call's exact shape.
      shape: its dimensions as the specs have them.
    """

    name: str
    aval: Any
    shape: tuple[Dim, ...]

    @property
    def is_symbolic(self) -> bool:
        """Whether some dimension varies."""
        return any(map(dims.is_symbolic, self.shape))

    @property
    def is_empty(self) -> bool:
        """Whether a dimension that varies is 0: sizes of symbols begin at 1."""
        sizes = zip(self.shape, self.aval.shape, strict=True)
        return any(size == 0 and dims.is_symbolic(d) for d, size in sizes)

    @property
    def key(self) -> Any:
        """What a program is specialised on: everything but the sizes of symbols."""
        return (self.shape, self.aval.dtype, self.aval.weak_type)

    def __repr__(self) -> str:
        return f"Leaf({self.name}: {self.aval.dtype}[{', '.join(map(str, self.shape))}])"


def spec_of(arguments: Mapping[str, Any], fun: Callable[..., Any], specs: Any) -> dict[str, Any]:
    """The spec of every argument by parameter name.

    Raises:
      SpecError: more specs than parameters, or a name that is no parameter.
    """
    try:
        kinds = {name: p.kind for name, p in inspect.signature(fun).parameters.items()}
    except (TypeError, ValueError):
        kinds = dict.fromkeys(arguments)
    parameters = list(kinds)
    if isinstance(specs, Mapping):
        others = {name: spec for name, spec in specs.items() if name not in parameters}
        rest = next((n for n in parameters if kinds[n] is inspect.Parameter.VAR_KEYWORD), None)
        if others and rest is None:
            raise SpecError(f"shapes names {sorted(others)}, but the parameters are {parameters}")
        if rest is None or rest in specs:
            return dict(specs)
        return {**specs, rest: {name: others.get(name) for name in arguments.get(rest, {})}}
    for at, name in enumerate(parameters):
        if kinds[name] is inspect.Parameter.VAR_POSITIONAL:
            specs = _gathered(specs, at, len(arguments.get(name, ())))
    required = [name for name in parameters if name in arguments]
    if len(specs) != len(required) and len(specs) != len(parameters):
        raise SpecError(
            f"shapes has {counted(len(specs), 'spec')}, but the function was called with "
            f"{counted(len(required), 'argument')} {required}: write one spec per argument, "
            "None where the shape is fixed"
        )
    named = parameters if len(specs) == len(parameters) else required
    return dict(zip(named, specs, strict=True))


def _gathered(specs: Sequence[Any], at: int, count: int) -> Sequence[Any]:
    """Specs with those of the ``count`` arguments that ``*args`` takes as one tuple."""
    return (*specs[:at], tuple(specs[at:])) if count and len(specs) == at + count else specs


def leaves_of(arguments: Mapping[str, Any], specs: Mapping[str, Any]) -> list[Leaf]:
    """Every array of the arguments, in ``jax.tree`` order of the mapping's values.

    Raises:
      SpecError: a spec does not fit the tree or the rank of its argument.
      TypeError: a leaf is no array.
    """
    out: list[Leaf] = []
    _check_for_arrays(arguments, specs)
    for name, value in arguments.items():
        paths = jax.tree_util.tree_flatten_with_path(value)[0]
        matched = _broadcast_spec(specs.get(name), value, name)
        for (path, leaf), spec in zip(paths, matched, strict=True):
            label = name + jax.tree_util.keystr(path)
            aval = abstract_argument(leaf, label)
            out.append(Leaf(label, aval, _read_spec(spec, aval.shape, label)))
    return out


def symbols_written(specs: Any) -> frozenset[str]:
    """The names in specs, also those of arguments that a call leaves out."""
    if isinstance(specs, str):
        return frozenset(re.findall(r"[^\W\d]\w*", specs))
    if isinstance(specs, jax.ShapeDtypeStruct):
        return symbols_written(", ".join(map(str, specs.shape)))
    if isinstance(specs, Mapping):
        specs = list(specs.values())
    if not isinstance(specs, Sequence):
        specs = [leaf for leaf in jax.tree.leaves(specs) if leaf is not specs]
    return frozenset().union(*map(symbols_written, specs))


def _check_for_arrays(arguments: Mapping[str, Any], specs: Mapping[str, Any]) -> None:
    """Raises where all that has specs is None; beside arrays, None is what was left out."""
    given = [name for name in arguments if isinstance(specs.get(name), str)]
    if given and all(arguments[name] is None for name in given) and not jax.tree.leaves(arguments):
        raise SpecError(
            f"'{given[0]}' is None, but its spec is '{specs[given[0]]}': pass an array, as nothing "
            "else gives the sizes"
        )


def _broadcast_spec(spec: Any, value: Any, name: str) -> list[str | None]:
    """One spec per leaf from a pytree prefix of specs."""
    if isinstance(spec, jax.ShapeDtypeStruct):
        spec = ", ".join(map(str, spec.shape))
    if isinstance(spec, str) and spec.strip(" ()") and _is_list_of_numbers(value):
        raise SpecError(
            f"the spec of '{name}' is '{spec}', but '{name}' is a {type(value).__name__} of "
            "numbers, which JAX takes for a tree of scalars: pass np.asarray(...) of it"
        )
    if spec is None or isinstance(spec, str):
        return [spec] * len(jax.tree.leaves(value))
    if jax.tree_util.all_leaves([spec]):
        raise SpecError(
            f"a spec is a string, a ShapeDtypeStruct or None, but that of '{name}' has {spec!r}"
        )
    if jax.tree_util.all_leaves([value]):
        raise SpecError(
            f"the spec of '{name}' is {shortened(spec)}, but '{name}' is an array: write "
            f"{_one_string(spec)}"
        )
    children, parts = _children(value), _children(spec)
    if type(value) is not type(spec) or [key for key, _ in children] != [key for key, _ in parts]:
        raise SpecError(
            f"the spec of '{name}' is {shortened(spec)}, which is no prefix of the argument's tree "
            f"{shortened(jax.tree.map(lambda _: '*', value))}, where '*' is an array"
        )
    out: list[str | None] = []
    for (_, child), (_, part) in zip(children, parts, strict=True):
        out += _broadcast_spec(part, child, name)
    return out


def _is_list_of_numbers(value: Any) -> bool:
    is_list = isinstance(value, list | tuple) and bool(value)
    return is_list and all(isinstance(item, bool | int | float | complex) for item in value)


def _one_string(spec: Any) -> str:
    """What was meant by dimensions that are not in one string."""
    if isinstance(spec, list | tuple) and all(isinstance(d, str | int | None) for d in spec):
        dims_ = ", ".join("_" if d is None else str(d) for d in spec)
        return f"its dimensions as one string, '{dims_}'"
    return "its dimensions as one string, such as 'n, 16'"


def _with_commas(spec: str, count: int) -> str:
    """A hint for a spec whose dimensions seem to be separated by something else than commas."""
    parts = [part for part in re.split(r"\s+x\s+|[\s;:|,]+", spec.strip(" ()[]")) if part]
    meant = ", ".join(parts)
    return f": separate them by commas, '{meant}'" if len(parts) == count > 1 else ""


def _children(node: Any) -> list[tuple[Any, Any]]:
    """(key path, child) of each child of a pytree node; static fields of the node do not matter."""
    return jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)[0]


def _read_spec(spec: str | None, shape: Sequence[int], name: str) -> tuple[Dim, ...]:
    """The dimensions of one array: "b, s, 3", "b, ...", "_, s" ("_" takes the size of the call)."""
    if spec is None:
        return tuple(shape)
    parts = [part.strip() for part in _split_commas(_bare(spec.strip()))]
    if "" in parts:
        raise SpecError(
            f"the spec '{spec}' of '{name}' has a comma with no dimension before it: write one "
            "dimension for each axis, '_' for one of fixed size"
        )
    if parts.count(_ELLIPSIS) > 1:
        raise SpecError(
            f"the spec '{spec}' of '{name}' has '...' more than once: it stands for all the axes "
            "that the rest does not name, so write '_' for each further axis of fixed size"
        )
    if _ELLIPSIS in parts:
        at = parts.index(_ELLIPSIS)
        missing = len(shape) - (len(parts) - 1)
        parts = [*parts[:at], *["_"] * missing, *parts[at + 1 :]]
    if len(parts) != len(shape):
        raise SpecError(
            f"the spec '{spec}' of '{name}' has {counted(len(parts), 'dimension')}, but its shape "
            f"{tuple(shape)} has {len(shape)}{_with_commas(spec, len(shape))}"
        )
    read = [
        size if part == "_" else _parsed(part, spec, name)
        for part, size in zip(parts, shape, strict=True)
    ]
    for axis, (dim, size) in enumerate(zip(read, shape, strict=True)):
        if isinstance(dim, int) and dim != size:
            raise ShapeError(
                f"axis {axis} of '{name}' has size {size}, but its spec '{spec}' fixes it at {dim}"
            )
    return tuple(read)


def _parsed(part: str, spec: str, name: str) -> Dim:
    """A dimension of a spec; the error names the argument and what a spec may hold besides."""
    try:
        dim = dims.parse(part)
    except SpecError as error:
        raise SpecError(f"in the spec '{spec}' of '{name}', {error}; {_BESIDES}") from error
    if isinstance(dim, int) and dim < 0:
        raise SpecError(f"in the spec '{spec}' of '{name}', {dim} is no size; {_BESIDES}")
    return dim


def _bare(spec: str) -> str:
    """A spec without the parentheses that enclose all of it."""
    depths = list(itertools.accumulate({"(": 1, ")": -1}.get(char, 0) for char in spec))
    enclosed = spec.startswith("(") and 0 in depths and depths.index(0) == len(spec) - 1
    return spec[1:-1] if enclosed else spec


def _split_commas(spec: str) -> list[str]:
    """Splits at commas outside parentheses; a trailing comma adds nothing."""
    parts, depth = [""], 0
    for char in spec:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts if parts[-1].strip() else parts[:-1]


def solve(leaves: Sequence[Leaf]) -> dict[str, int]:
    """The size of every symbol, from the shapes of a call.

    Raises:
      ShapeError: two axes disagree on a symbol, or no axis gives one.
    """
    sizes: dict[str, int] = {}
    origin: dict[str, str] = {}
    axes = [
        (leaf.name, axis, dim, size)
        for leaf in leaves
        for axis, (dim, size) in enumerate(zip(leaf.shape, leaf.aval.shape, strict=True))
        if dims.is_symbolic(dim)
    ]
    while (solvable := _next_solvable(axes, sizes)) is not None:
        (name, axis, dim, size), symbol = solvable
        value = invert(dim, symbol, size, sizes)
        if value is None or value < 1:
            raise ShapeError(
                f"axis {axis} of '{name}' has size {size}, which no '{symbol}' of 1 or more gives "
                f"for its spec '{dim}'"
            )
        sizes[symbol], origin[symbol] = value, f"axis {axis} of '{name}'"
    for name, axis, dim, size in axes:
        missing = sorted(dims.symbols_of(dim) - set(sizes))
        if missing:
            raise SpecError(
                f"no axis determines {missing}: some spec must hold the symbol alone, or in an "
                f"expression linear in it or as s*s, besides '{dim}' of axis {axis} of '{name}'"
            )
        expected = dims.evaluate(dim, sizes)
        if expected != size:
            used = ", ".join(
                f"{s} = {sizes[s]} from {origin[s]}" for s in sorted(dims.symbols_of(dim))
            )
            raise ShapeError(
                f"axis {axis} of '{name}' has size {size}, but its spec '{dim}' makes it "
                f"{expected} ({used})"
            )
    return sizes


def _next_solvable(
    axes: Sequence[tuple[str, int, Dim, int]], sizes: Mapping[str, int]
) -> tuple[tuple[str, int, Dim, int], str] | None:
    """The shortest axis that gives its only unknown symbol, and that symbol."""
    for entry in sorted(axes, key=lambda entry: len(str(entry[2]))):
        unknown = sorted(dims.symbols_of(entry[2]) - set(sizes))
        if len(unknown) == 1 and is_invertible(entry[2], unknown[0]):
            return entry, unknown[0]
    return None


def is_linear(dim: Dim, name: str) -> bool:
    """Whether a dimension is linear in a symbol."""
    symbol = dims.symbol(name)
    polynomial = sympy.sympify(dim).as_poly(symbol)
    return dim == symbol or (polynomial is not None and polynomial.degree() == 1)


def is_invertible(dim: Dim, name: str) -> bool:
    """Whether a dimension is linear in a symbol, or grows with it, as ``s*s + 1`` does."""
    if is_linear(dim, name):
        return True
    polynomial = sympy.sympify(dim).as_poly(dims.symbol(name))
    if polynomial is None or polynomial.degree() < 2:
        return False
    return all(c.is_nonnegative for c in polynomial.all_coeffs())


def invert(dim: Dim, symbol: str, size: int, sizes: Mapping[str, int]) -> int | None:
    """The integer value of ``symbol`` at which a dimension has a size; None if none has."""

    def at(value: int) -> int:
        return dims.evaluate(dim, {**sizes, symbol: value})

    if is_linear(dim, symbol):
        zero = at(0)
        slope = at(1) - zero
        exact = slope != 0 and (size - zero) % slope == 0
        return (size - zero) // slope if exact else None
    value = bisect.bisect_left(range(1, size + 1), size, key=at) + 1
    return value if at(value) == size else None
