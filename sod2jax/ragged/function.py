"""``ragged_vmap``: a function of one example, over examples of different sizes."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from sod2jax import report
from sod2jax.arguments.annotations import with_annotations
from sod2jax.arguments.learn import Learner
from sod2jax.arguments.signature import Leaf
from sod2jax.errors import ShapeError, SpecError
from sod2jax.ir import dims
from sod2jax.options import Options, Specs
from sod2jax.planning.exact import Fallbacks, debugging
from sod2jax.ragged.batch import Argument, Batch, read_argument
from sod2jax.ragged.over_rows import OverRows
from sod2jax.ragged.stacked import run_stacked
from sod2jax.stats import Counters, Stats


class RaggedFunction:
    """A function of one example that runs over rows of different sizes.

    Made by ``sod2jax.ragged_vmap``.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        in_axes: int | Sequence[int | None] | None,
        options: Options,
        ladder: tuple[int, ...] | None,
    ):
        functools.update_wrapper(self, fun)
        self._fun, self._in_axes, self._options, self._ladder = fun, in_axes, options, ladder
        self._name = getattr(fun, "__name__", type(fun).__name__)
        self._learner = Learner()
        self._over: dict[Any, OverRows] = {}
        how = "runs row by row through exact-shape executables, one compile per shape"
        self._counters = Counters()
        self._fallbacks = Fallbacks(
            self._name, how, options.on_unsupported, counted=self._counters.exact
        )

    def __repr__(self) -> str:
        shapes = self._options.shapes
        specs = "" if shapes is None else f", shapes={shapes!r}"
        return f"ragged_vmap({self._name}, in_axes={self._in_axes!r}{specs})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function over all rows; each result equals that of ``jax.jit(fun)`` on its row.

        Returns:
          For lists, the list of the results at their true shapes. For padded arguments, the
          results stacked: [B, ...], or ``Ragged`` with zeros in the padding where sizes vary.

        Raises:
          ShapeError: an example breaks a spec or a constraint, or does not match the others.
          SpecError: the specs or the sizes do not fit the arguments.
          TraceError, UnsupportedPrimitiveError: with traced sizes, if rows need programs of their
            own or exact shapes; and with ``on_unsupported="error"``.
        """
        names, values = self._bound(args, kwargs)
        mapped = self._axes(names)
        specs = self._specs(names)
        arguments = [
            read_argument(name, value, rows, _has_symbol(specs and specs.get(name)))
            for name, value, rows in zip(names, values, mapped, strict=True)
        ]
        count = _count(arguments)
        if any(argument.is_listed for argument in arguments):
            return self._run_lists(arguments, count)
        if specs is None and any(argument.sizes for argument in arguments):
            raise SpecError(
                f"{self._name} needs shapes=... to read padded arguments: they say which "
                "dimensions the sizes are for"
            )
        over, leaves = self._leaves(arguments)
        batch = self._batch(arguments, count, leaves)
        region = over.plans.base(batch.tree, _avals(arguments)).region
        return run_stacked(over, self._name, arguments, batch, region)

    # Reading

    def stats(self) -> Stats:
        """Counters since the function was made.

        A call of a bucket, or with exact shapes, is a run of the rows that take that way together;
        what runs inside of JAX's transformations is not counted. XLA's seconds are not known here.
        """
        return self._counters.read()

    def explain(self) -> str:
        """A report as ``OptimizedFunction.explain``: programs, buckets, and reasons."""
        parts = [text for over in self._over.values() for text in over.described()]
        return report.document(self._name, parts, self._fallbacks.reasons, self.stats())

    # Arguments

    def _bound(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[list[str], tuple[Any, ...]]:
        """Names and values of the arguments, by position."""
        try:
            signature = inspect.signature(self._fun)
        except (TypeError, ValueError):
            return [f"argument {k}" for k in range(len(args))], args
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{self._name}: {error}; a padded array and its sizes are one argument, the tuple "
                "(padded, sizes)"
            ) from None
        if bound.kwargs:
            raise TypeError(
                f"{self._name}: ragged_vmap takes {list(bound.kwargs)} by position only"
            )
        names: list[str] = []
        for name, parameter in signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                names += [f"{name}[{k}]" for k in range(len(bound.args) - len(names))]
            elif name in bound.arguments:
                names.append(name)
        return names, bound.args

    def _axes(self, names: Sequence[str]) -> list[bool]:
        axes = self._in_axes
        axes = list(axes) if isinstance(axes, tuple | list) else [axes] * len(names)
        if len(axes) != len(names):
            raise SpecError(
                f"in_axes has {len(axes)} entries, but {self._name} was called with {len(names)} "
                f"arguments {list(names)}"
            )
        if all(axis is None for axis in axes):
            raise SpecError("in_axes maps no argument: at least one must be 0")
        return [axis == 0 for axis in axes]

    def _specs(self, names: Sequence[str]) -> dict[str, Any] | None:
        shapes = self._options.shapes
        if shapes is None:
            return None
        if isinstance(shapes, Mapping):
            unknown = sorted(set(shapes) - set(names))
            if unknown:
                raise SpecError(f"shapes names {unknown}, but the arguments are {list(names)}")
            return dict(shapes)
        if len(shapes) != len(names):
            raise SpecError(
                f"shapes has {len(shapes)} specs, but {self._name} was called with {len(names)} "
                f"arguments {list(names)}: write one spec per argument, None for fixed shapes"
            )
        return dict(zip(names, shapes, strict=True))

    def _over_rows(self, specs: Sequence[Any], key: Any) -> OverRows:
        if key not in self._over:
            options = Options(
                shapes=tuple(specs),
                constraints=self._options.constraints,
                buckets=self._options.buckets,
                max_executables=self._options.max_executables,
            )
            self._over[key] = OverRows(
                self._fun, self._name, options, self._fallbacks, self._counters, self._ladder
            )
        return self._over[key]

    def _batch(self, arguments: Sequence[Argument], count: int, leaves: Sequence[Leaf]) -> Batch:
        return Batch(
            tree=_tree(arguments),
            leaves=tuple(leaves),
            mapped=tuple(a.mapped for a in arguments for _ in a.columns),
            columns=tuple(column for a in arguments for column in a.columns),
            count=count,
        )

    # Lists

    def _run_lists(self, arguments: Sequence[Argument], count: int) -> list[Any]:
        for argument in arguments:
            if argument.sizes:
                raise SpecError(
                    f"'{argument.name}' is padded, but other arguments are lists of examples: pass "
                    "all of them one way"
                )
        over, leaves = self._leaves(arguments)
        batch = self._batch(arguments, count, leaves)
        results = over.results(batch, exact=debugging())
        return [jax.tree.unflatten(tree, leaves) for tree, leaves in results]

    def _leaves(self, arguments: Sequence[Argument]) -> tuple[OverRows, Sequence[Leaf]]:
        """The function with its specs, and the leaves of one example as the specs have them."""
        specs = self._specs([argument.name for argument in arguments])
        if specs is None:
            over = self._learned(arguments)
        else:
            over = self._over_rows([specs.get(argument.name) for argument in arguments], None)
        return over, over.plans.base(_tree(arguments), _avals(arguments)).leaves

    def _learned(self, arguments: Sequence[Argument]) -> OverRows:
        """The function with the specs that this call and those before it suggest."""
        plain = [Leaf("", aval, aval.shape) for aval in _avals(arguments)]
        count = _count(arguments)
        batch = self._batch(arguments, count, plain)
        learned = plain
        for shapes in dict.fromkeys(map(batch.shapes, range(count))):
            examples = [
                Leaf(leaf.name, spec, spec.shape)
                for leaf, spec in zip(plain, batch.specs(shapes), strict=True)
            ]
            learned = self._learner.specs(
                (batch.tree, batch.mapped),
                [x for x, rows in zip(examples, batch.mapped, strict=True) if rows],
            )
        texts = iter([", ".join(map(dims.jax_text, leaf.shape)) for leaf in learned])
        specs = [
            jax.tree.unflatten(a.tree, [next(texts) for _ in a.avals]) if a.mapped else None
            for a in arguments
        ]
        return self._over_rows(specs, tuple(leaf.key for leaf in learned))


def _tree(arguments: Sequence[Argument]) -> Any:
    """Structure of the arguments of one example."""
    return jax.tree_util.treedef_tuple([argument.tree for argument in arguments])


def _avals(arguments: Sequence[Argument]) -> tuple[Any, ...]:
    return tuple(aval for argument in arguments for aval in argument.avals)


def _has_symbol(spec: Any) -> bool:
    return any(
        re.search("[a-zA-Z]", text) for text in jax.tree.leaves(spec) if isinstance(text, str)
    )


def _count(arguments: Sequence[Argument]) -> int:
    counts = {argument.name: argument.count for argument in arguments if argument.count is not None}
    if len(set(counts.values())) != 1:
        said = ", ".join(f"{count} in '{name}'" for name, count in counts.items()) or "none at all"
        raise ShapeError(f"the arguments have different numbers of rows: {said}")
    return next(iter(counts.values()))


def ragged_vmap(
    fun: Callable[..., Any],
    in_axes: int | Sequence[int | None] | None = 0,
    shapes: Specs = None,
    *,
    constraints: Sequence[str] = (),
    buckets: Mapping[str, Sequence[int]] | None = None,
    rows: Sequence[int] | None = None,
    max_executables: int = 8,
    on_unsupported: str = "exact",
) -> RaggedFunction:
    """``jax.vmap`` over examples of different sizes, exact per row.

    ``fun`` is written for one example, without masks. All rows run as one padded batch, each with
    its own true size. Two forms of arguments:

    - Lists, one entry (an array or a pytree) for each row; an array beside them has rows in front,
      as for ``jax.vmap``. The result is the list of results at their true shapes.
    - ``Ragged(padded, sizes)``, or just the pair: an array [B, N, ...] (or a pytree of arrays) with
      int32[B] true sizes, by dimension where several vary. Works inside ``jit``, ``grad`` and
      ``vmap``, with traced data and sizes; there the padded size is the bucket. Results are
      stacked: [B, ...], or ``Ragged`` where sizes vary, with zeros in the padding, whatever that
      of the arguments holds. Traced sizes that are out of range make their row NaN (the largest
      number of an integer type), because nothing can be raised there.

    Gradients are exact too, of every order, and those of arguments without rows are summed over the
    rows; the backward pass computes the function again. Forward-mode differentiation is refused.

    Args:
      fun: the function of one example.
      in_axes: 0 for arguments that have rows, None for those that all rows share; for all, or one
        for each argument.
      shapes: specs of one example, as for ``sod2jax.optimize``. Without them, lists teach which
        dimensions vary.
      constraints: relations such as "n <= 512", as for ``sod2jax.optimize``.
      buckets: padded sizes by symbol, as for ``sod2jax.optimize``.
      rows: padded numbers of rows; by default powers of two. A batch larger than the last of them
        is run in several parts.
      max_executables: how many buckets a program may have, for each number of rows.
      on_unsupported: "exact" runs what has no exact padded form row by row, with one warning;
        "error" raises instead.

    Raises:
      SpecError: an option is malformed.
    """
    options = Options.checked(
        shapes=shapes,
        constraints=constraints,
        buckets=buckets,
        max_executables=max_executables,
        on_unsupported=on_unsupported,
    )
    axes = in_axes if isinstance(in_axes, tuple | list) else (in_axes,)
    if any(axis is not None and (type(axis) is not int or axis != 0) for axis in axes):
        raise SpecError(
            "in_axes must be 0 (rows in front) or None (shared by all rows), for all arguments or "
            f"one for each; got {in_axes!r}"
        )
    ladder = None if rows is None else tuple(sorted({int(size) for size in rows}))
    if ladder is not None and (not ladder or ladder[0] < 1):
        raise SpecError(f"rows must be positive integers; got {rows!r}")
    return RaggedFunction(fun, in_axes, with_annotations(options, fun), ladder)
