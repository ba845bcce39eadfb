"""From a call's arguments to the key of its plan, and to named, ordered leaves."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray, Tracer

from sod2jax import _compat
from sod2jax._compat import unplaced_aval
from sod2jax.ir import foreign
from sod2jax.options import JitKeywords

# Kinds of parameters that a position may name.
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_LONGEST = 80  # characters of a value that a text shows
_MOST_LEAVES = 4  # that a text shows


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Call:
    """One call, split into what is traced and what is not.

    Attributes:
      args: dynamic positional arguments, in order.
      kwargs: dynamic keyword arguments.
      static: (where, value) of every static argument.
      leaves: the arrays among the dynamic arguments.
      key: hashable; equal for calls that one plan serves.
      donated: the positions of those leaves that the call consumes.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    static: tuple[tuple[Any, Any], ...]
    leaves: list[Any]
    key: Any
    donated: frozenset[int] = frozenset()

    @property
    def is_traced(self) -> bool:
        """Whether the call happens inside a JAX transformation."""
        return any(issubclass(kind, Tracer) for kind in set(map(type, self.leaves)))

    def consume(self, result: Any) -> None:
        """Deletes the donated arrays that are not deleted yet, but for those in the result."""
        if not self.donated:
            return
        kept = set(map(id, jax.tree.leaves(result)))
        for leaf in map(self.leaves.__getitem__, self.donated):
            if isinstance(leaf, jax.Array) and id(leaf) not in kept and not leaf.is_deleted():
                leaf.delete()

    def check_values(self, name: str) -> None:
        """Raises where a leaf has no values; ``name`` is the function's.

        Raises:
          RuntimeError: the leaf was donated to an earlier call, or deleted.
          TypeError: the leaf is a ``jax.ShapeDtypeStruct``.
        """
        for leaf in self.leaves:
            if isinstance(leaf, jax.Array) and leaf.is_deleted():
                raise RuntimeError(
                    f"{name} was called with an array that has been deleted, or donated to an "
                    f"earlier call: {described(leaf)}"
                )
            if isinstance(leaf, jax.ShapeDtypeStruct):
                raise TypeError(
                    f"{name} was called with the jax.ShapeDtypeStruct {described(leaf)}, which has "
                    "no values: pass an array; trace(...) and compile(...) take shapes alone"
                )

    def __repr__(self) -> str:
        leaves = [described(leaf) for leaf in self.leaves[:_MOST_LEAVES]]
        more = len(self.leaves) - len(leaves)
        leaves += [f"{more} more"] if more else []
        static = [f"static {where}={shortened(value)}" for where, value in self.static]
        return f"Call({', '.join([*leaves, *static])})"


class Caller:
    """Reads the calls of a function: how it takes its arguments, and which are static.

    Args:
      fun: the user's function.
      keywords: say which arguments are static, or consumed.
    """

    def __init__(self, fun: Callable[..., Any], keywords: JitKeywords):
        self.fun = fun
        self._name = getattr(fun, "__name__", type(fun).__name__)
        try:
            self.signature = inspect.signature(fun)
        except (TypeError, ValueError):
            self.signature = inspect.Signature(
                [
                    inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
                    inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
                ]
            )
        static = self._chosen(keywords.static_argnums, keywords.static_argnames)
        self._nums, self._names = static
        self._donated = self._chosen(keywords.donate_argnums, keywords.donate_argnames)
        self._donated_leaves: dict[Any, frozenset[int]] = {}

    def _chosen(
        self, nums: Sequence[int], names: Sequence[str]
    ) -> tuple[frozenset[int], frozenset[str]]:
        """The positions and names of parameters of which some are given by position or name."""
        places = [p.name for p in self.signature.parameters.values() if p.kind in _BY_POSITION]
        positive = [k + len(places) if k < 0 else k for k in nums]
        return (
            frozenset(positive) | {places.index(name) for name in names if name in places},
            frozenset(names) | {places[k] for k in positive if k < len(places)},
        )

    def __repr__(self) -> str:
        return f"Caller({self._name}({', '.join(self.signature.parameters)}))"

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Splits the arguments of a call and computes its key.

        Raises:
          TypeError: an argument that is not static is no array.
        """
        static: list[tuple[Any, Any]] = []
        if self._nums or self._names:
            static = [(k, args[k]) for k in sorted(self._nums) if k < len(args)]
            static += [(name, kwargs[name]) for name in sorted(self._names & set(kwargs))]
            args = tuple(a for k, a in enumerate(args) if k not in self._nums)
            kwargs = {name: a for name, a in kwargs.items() if name not in self._names}
        leaves, tree = jax.tree.flatten((args, dict(kwargs)))
        # 1, 1.0 and True are equal, but programs differ by them.
        typed = tuple((where, type(value), value) for where, value in static)
        fixed = (typed, (_compat.trace_context(), foreign.edition()))
        try:
            keys = tuple(map(_key_of, leaves))
        except TypeError:
            self._name_what_is_no_array(args, kwargs, static)
            raise
        donated = self._consumed(args, kwargs, static, tree) if any(self._donated) else frozenset()
        return Call(args, dict(kwargs), tuple(static), leaves, (tree, fixed, keys), donated)

    def _consumed(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        static: Sequence[tuple[Any, Any]],
        tree: Any,
    ) -> frozenset[int]:
        """The positions of the donated leaves of a call; ``args`` are without what is static."""
        places = tuple(where for where, _ in static if isinstance(where, int))
        if (tree, places) not in self._donated_leaves:
            nums, names = self._donated
            dynamic = (k for k in itertools.count() if k not in places)
            marks = (
                tuple(_marked(a, k in nums) for a, k in zip(args, dynamic)),  # noqa: B905
                {name: _marked(a, name in names) for name, a in kwargs.items()},
            )
            flags = enumerate(jax.tree.leaves(marks))
            self._donated_leaves[tree, places] = frozenset(k for k, marked in flags if marked)
        return self._donated_leaves[tree, places]

    def _name_what_is_no_array(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], static: Sequence[tuple[Any, Any]]
    ) -> None:
        call = Call(tuple(args), dict(kwargs), tuple(static), [], None)
        for name, argument in self._bind(call, args, kwargs).arguments.items():
            for path, leaf in jax.tree_util.tree_flatten_with_path(argument)[0]:
                abstract_argument(leaf, name + jax.tree_util.keystr(path))

    def check_hashable(self, call: Call) -> None:
        """Raises where a static value cannot be part of a key.

        Raises:
          ValueError: it has no hash; the message names the argument.
        """
        for where, value in call.static:
            try:
                hash(value)
            except TypeError as error:
                raise ValueError(
                    f"static argument {where!r} of {self._name} is {shortened(value)}, which has "
                    "no hash: a program is made for each static value, so these must be hashable"
                ) from error

    def named(self, call: Call) -> tuple[dict[str, Any], tuple[int, ...], Callable[..., Any]]:
        """The dynamic arguments by parameter name.

        Returns:
          (arguments, order, function): ``order`` gives, for each leaf of the arguments' values, its
          position in ``call.leaves``; ``function`` takes the values by position.

        Raises:
          TypeError: the call does not fit the function, as Python says it.
        """
        tree = jax.tree.structure((call.args, call.kwargs))
        positions = jax.tree.unflatten(tree, range(tree.num_leaves))
        bound = self._bind(call, call.args, call.kwargs)
        places = self._bind(call, *positions)
        arguments = {k: v for k, v in bound.arguments.items() if k not in self._names}
        order = jax.tree.leaves([places.arguments[name] for name in arguments])
        function = functools.partial(self._apply, bound, call.static, tuple(arguments))
        return arguments, tuple(order), function

    def _bind(
        self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> inspect.BoundArguments:
        """The arguments by parameter; None, which has no leaves, stands for what is static."""
        rest = list(args)
        for k in sorted(where for where, _ in call.static if isinstance(where, int)):
            rest.insert(k, None)
        named = {where: None for where, _ in call.static if isinstance(where, str)}
        try:
            return self.signature.bind(*rest, **kwargs, **named)
        except TypeError as error:
            parameters = ", ".join(self.signature.parameters)
            raise TypeError(f"{self._name}({parameters}): {error}") from error

    def _apply(
        self,
        bound: inspect.BoundArguments,
        static: Sequence[tuple[Any, Any]],
        names: tuple[str, ...],
        *values: Any,
    ) -> Any:
        arguments = {**bound.arguments, **dict(zip(names, values, strict=True))}
        full = inspect.BoundArguments(self.signature, arguments)  # type: ignore[arg-type]
        args, kwargs = list(full.args), dict(full.kwargs)
        for where, value in static:
            if where in kwargs:
                kwargs[where] = value
            else:
                args[self._place(where)] = value
        return self.fun(*args, **kwargs)

    def _place(self, where: int | str) -> int:
        """The position of a static argument."""
        return where if isinstance(where, int) else list(self.signature.parameters).index(where)


def _marked(argument: Any, mark: bool) -> list[bool]:
    """A mark for each leaf of an argument."""
    return [mark] * jax.tree.structure(argument).num_leaves


def _key_of(leaf: Any) -> Any:
    """What a program depends on: shape, dtype, weak type and place; not the value."""
    if (aval := unplaced_aval(leaf)) is not None:
        return aval
    if isinstance(leaf, np.ndarray):
        return leaf.shape, leaf.dtype
    aval = leaf.aval if isinstance(leaf, jax.Array) else abstract(leaf)
    place = _compat.committed_to(leaf)
    return aval if place is None else (aval, place)


def abstract_argument(leaf: Any, name: str) -> Any:
    """``abstract``, with a name for the error.

    Raises:
      TypeError: the leaf is no array of a dtype that JAX has.
    """
    try:
        return abstract(leaf)
    except TypeError as error:
        raise TypeError(
            f"'{name}' is {_said_of(leaf)}, which is not a valid JAX type: make the argument "
            "static (static_argnums, static_argnames), or with filter=True all that is no array, "
            "as equinox.filter_jit does"
        ) from error


def _said_of(leaf: Any) -> str:
    if isinstance(leaf, np.ndarray):
        return f"a NumPy array of dtype {leaf.dtype!r}"
    return f"{shortened(leaf)} of type {type(leaf).__name__}"


def shortened(value: Any) -> str:
    """What a value prints, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def described(array: Any) -> str:
    """An array's dtype and shape, such as ``float32[3, 4]``; another value in few words."""
    if not (hasattr(array, "shape") and hasattr(array, "dtype")):
        return shortened(array)
    return f"{array.dtype}[{', '.join(map(str, array.shape))}]"


def abstract(leaf: Any) -> Any:
    """JAX's abstract value of an array, a Python scalar or a ``jax.ShapeDtypeStruct``."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        dtype = leaf.dtype
        if isinstance(dtype, np.dtype):  # keys of random numbers have dtypes of their own
            dtype = jax.dtypes.canonicalize_dtype(dtype)
        aval = ShapedArray(leaf.shape, dtype, weak_type=leaf.weak_type)
        return _compat.typed(aval, leaf.sharding)
    return jax.typeof(leaf)


def copied(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Arguments whose arrays a call may delete."""
    return jax.tree.map(lambda x: x.copy() if isinstance(x, jax.Array) else x, (args, dict(kwargs)))


def on_device(leaf: Any) -> Any:
    """JAX's dtypes for what NumPy hands in, as under ``jax.jit``."""
    return jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf
