"""The arguments of a call, split into the leaves of one example: what has rows, and their sizes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax import _compat
from sod2jax.arguments.calls import abstract_argument, described, shortened
from sod2jax.arguments.signature import Leaf
from sod2jax.errors import ShapeError, SpecError
from sod2jax.ir import dims
from sod2jax.ragged import arrays

_MOST_SIZES = 12  # that a text shows


class Ragged(NamedTuple):
    """Examples of different sizes, padded and stacked.

    Attributes:
      data: array [B, N0, N1, ...], or for an argument a pytree of such arrays; row b holds its
        example in the leading corner. What the rest holds is never seen; in results it is zero.
      sizes: int32[B], the true sizes of the only dimension that varies; or, where several vary, a
        dictionary from dimension to int32[B], such as ``{"n": ..., "m": ...}``.
    """

    data: Any
    sizes: Any

    def __repr__(self) -> str:
        data, sizes = jax.tree.map(described, self.data), jax.tree.map(_sizes_text, self.sizes)
        return f"Ragged({_shown(data)}, sizes={_shown(sizes)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """A call, leaf by leaf of one example's arguments.

    Attributes:
      tree: structure of the arguments of one example.
      leaves: name, abstract value and symbolic shape of each leaf.
      mapped: which leaves have one array per row.
      columns: for each leaf its array (with rows in front if mapped), or the list of its rows.
      count: number of rows.
      sizes: true sizes of the symbols, by row; None if the arrays of each row have exact shapes.
      traced: int32[B] for each symbol, where a transformation traces the sizes.
    """

    tree: Any
    leaves: tuple[Leaf, ...]
    mapped: tuple[bool, ...]
    columns: tuple[Any, ...]
    count: int
    sizes: Sequence[Mapping[str, int]] | None = None
    traced: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Batch({self.count} rows of {', '.join(map(repr, self.leaves))})"

    @property
    def is_traced(self) -> bool:
        """Whether the call happens inside a JAX transformation."""
        flat = [c for column in self.columns for c in (column if _is_list(column) else [column])]
        return self.traced is not None or arrays.is_traced(*flat)

    @functools.cached_property
    def key(self) -> Any:
        """Hashable; equal for batches whose rows are planned alike."""
        fixed = tuple(None if _is_list(column) else np.shape(column) for column in self.columns)
        leaves = tuple(leaf.key for leaf in self.leaves)
        return self.tree, leaves, self.mapped, fixed, _compat.trace_context()

    @functools.cached_property
    def _lists(self) -> list[list[Any]]:
        return [column for column in self.columns if _is_list(column)]

    def row_key(self, row: int) -> Any:
        """Hashable; equal for rows of equal sizes."""
        if self.sizes is not None:
            return tuple(self.sizes[row].items())
        return tuple(np.shape(column[row]) for column in self._lists)

    def shapes(self, row: int) -> tuple[arrays.Shape, ...]:
        """True shape of every leaf in a row."""
        if self.sizes is not None:
            at = self.sizes[row]
            return tuple(
                tuple(int(dims.evaluate(d, at)) for d in leaf.shape) for leaf in self.leaves
            )
        return tuple(
            np.shape(column[row])
            if _is_list(column)
            else np.shape(column)[1:]
            if mapped
            else np.shape(column)
            for column, mapped in zip(self.columns, self.mapped, strict=True)
        )

    def specs(self, shapes: Sequence[arrays.Shape]) -> list[jax.ShapeDtypeStruct]:
        """The leaves of one example, abstractly."""
        return [
            jax.ShapeDtypeStruct(shape, leaf.aval.dtype, weak_type=leaf.aval.weak_type)
            for leaf, shape in zip(self.leaves, shapes, strict=True)
        ]

    def row(self, row: int) -> Any:
        """The arguments of one example, at their true shapes."""
        leaves = [
            column[row]
            if _is_list(column)
            else arrays.corner(column, row if mapped else None, shape)
            for column, mapped, shape in zip(
                self.columns, self.mapped, self.shapes(row), strict=True
            )
        ]
        return jax.tree.unflatten(self.tree, leaves)

    def stacked(self, rows: Sequence[int], width: int, shapes: Sequence[arrays.Shape]) -> list[Any]:
        """The leaves for ``width`` rows, padded to ``shapes``: [width, ...] where mapped."""
        return [
            self._stacked(k, rows, width, shape)
            for k, shape in zip(range(len(self.columns)), shapes, strict=True)
        ]

    def _stacked(self, k: int, rows: Sequence[int], width: int, shape: arrays.Shape) -> Any:
        column, dtype = self.columns[k], self.leaves[k].aval.dtype
        if _is_list(column):
            return arrays.stack([column[row] for row in rows], dtype, shape, width)
        if not self.mapped[k]:
            return arrays.fit(column, shape)
        return arrays.fit(arrays.take(column, rows, width), (width, *shape))


def _sizes_text(sizes: Any) -> str:
    if arrays.is_traced(sizes):
        return described(sizes)
    return np.array2string(np.asarray(sizes), threshold=_MOST_SIZES, edgeitems=3, separator=", ")


def _shown(texts: Any) -> str:
    """A tree of texts, each without quotes."""
    return repr(jax.tree.map(_Text, texts))


class _Text(str):
    def __repr__(self) -> str:
        return str(self)


def _is_list(column: Any) -> bool:
    return isinstance(column, list)


@dataclasses.dataclass(frozen=True, repr=False)
class Argument:
    """One argument of a call.

    Attributes:
      name: of the parameter.
      tree: structure of the argument of one example.
      avals: its leaves, abstractly; at the padded shape if they are padded.
      columns: its leaves' columns, see ``Batch``.
      mapped: whether it has rows.
      count: number of rows, if it has any.
      sizes: sizes that came with a padded argument, by the leaves they are for.
    """

    name: str
    tree: Any
    avals: tuple[Any, ...]
    columns: tuple[Any, ...]
    mapped: bool
    count: int | None = None
    sizes: tuple[tuple[tuple[int, ...], Any], ...] = ()

    def __repr__(self) -> str:
        rows = "shared" if self.count is None else f"{self.count} rows"
        return f"Argument({self.name}: {rows} of {', '.join(map(described, self.avals))})"

    @property
    def example(self) -> Any:
        """The argument of one example, abstractly."""
        return jax.tree.unflatten(self.tree, map(_struct, self.avals))

    @property
    def is_listed(self) -> bool:
        """Whether it is a list of examples."""
        return any(map(_is_list, self.columns))


def read_argument(name: str, value: Any, mapped: bool, may_be_pair: bool) -> Argument:
    """Splits an argument into columns.

    Args:
      name: of the parameter.
      value: what was passed for it.
      mapped: whether ``in_axes`` maps it.
      may_be_pair: whether a plain pair stands for (padded, sizes).

    Raises:
      SpecError, ShapeError: the examples of a list differ in more than their sizes, or an array
        without rows is mapped.
    """
    if not mapped:
        leaves, tree = jax.tree.flatten(value)
        columns = tuple(_array(leaf, name) for leaf in leaves)
        return Argument(name, tree, tuple(_aval(leaf, name) for leaf in leaves), columns, False)
    if isinstance(value, list):
        return _read_list(name, value)
    if may_be_pair and type(value) is tuple and len(value) == 2:
        for sizes in jax.tree.leaves(value[1]):
            if np.ndim(sizes) and not jnp.issubdtype(jnp.result_type(sizes), np.integer):
                raise ShapeError(
                    f"'{name}' is a tuple of two, which stands for (padded, sizes), and its sizes "
                    f"are {shortened(sizes)}, which are no integers: pass examples as a list"
                )
        value = Ragged(*value)
    return _read_padded(name, value)


def _read_list(name: str, examples: list[Any]) -> Argument:
    if not examples:
        raise ShapeError(f"'{name}' is an empty list: pass one example or more")
    flat = [jax.tree_util.tree_flatten_with_path(example) for example in examples]
    tree = flat[0][1]
    kinds = [[_kind(leaf, name) for _, leaf in leaves] for leaves, _ in flat]
    for at, (_, other) in enumerate(flat):
        if other != tree:
            raise SpecError(
                f"'{name}' is a list of examples, which must have one structure: example 0 is "
                f"{tree}, example {at} is {other}"
            )
        for (path, _), kind, first in zip(flat[0][0], kinds[at], kinds[0], strict=True):
            if kind != first:
                label = name + jax.tree_util.keystr(path)
                raise ShapeError(
                    f"'{label}' is {_said(first)} in example 0 and {_said(kind)} in example {at}: "
                    "only sizes may differ; convert the examples to one dtype and rank"
                )
    leaves = [[leaf for _, leaf in example] for example, _ in flat]
    columns = tuple(map(list, zip(*leaves, strict=True)))
    avals = tuple(_aval(leaf, name) for leaf in leaves[0])
    return Argument(name, tree, avals, columns, True, len(examples))


def _kind(leaf: Any, name: str) -> tuple[Any, bool, int]:
    aval = _aval(leaf, name)
    return aval.dtype, aval.weak_type, len(aval.shape)


def _said(kind: tuple[Any, bool, int]) -> str:
    dtype, weak, rank = kind
    return f"{dtype}{' (a Python number)' if weak else ''} of rank {rank}"


def _read_padded(name: str, value: Any) -> Argument:
    nodes, tree = jax.tree.flatten(value, is_leaf=lambda node: isinstance(node, Ragged))
    columns: list[Any] = []
    avals, trees, sizes = [], [], []
    for node in nodes:
        data = node.data if isinstance(node, Ragged) else node
        leaves, inner = jax.tree.flatten(data)
        if isinstance(node, Ragged):
            places = tuple(range(len(columns), len(columns) + len(leaves)))
            sizes.append((places, node.sizes))
        for leaf in leaves:
            if not np.shape(leaf):
                raise ShapeError(
                    f"'{name}' is mapped, but {shortened(leaf)} in it has no axis of rows: stack "
                    "it, pass a list of examples, or set its in_axes to None"
                )
        avals += [aval.update(shape=aval.shape[1:]) for aval in (_aval(x, name) for x in leaves)]
        trees.append(inner)
        columns += [_array(leaf, name) for leaf in leaves]
    counts = sorted({np.shape(column)[0] for column in columns})
    if len(counts) > 1:
        what = "a list, not a tuple" if isinstance(value, tuple) else "a list"
        raise ShapeError(
            f"the arrays of '{name}' have different numbers of rows: {counts}; examples of "
            f"different sizes are passed as {what}"
        )
    count = counts[0] if counts else None
    whole = jax.tree.structure(tree.unflatten([t.unflatten([0] * t.num_leaves) for t in trees]))
    return Argument(name, whole, tuple(avals), tuple(columns), True, count, tuple(sizes))


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def _aval(leaf: Any, name: str) -> Any:
    return leaf.aval if isinstance(leaf, jax.Array) else abstract_argument(leaf, name)


def _array(leaf: Any, name: str) -> Any:
    """A leaf as an array of the dtype that JAX gives it."""
    if isinstance(leaf, jax.Array):
        return leaf
    return np.asarray(leaf, abstract_argument(leaf, name).dtype)
