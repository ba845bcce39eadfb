"""How arguments get into the function that is traced, and results and changes out of it.

What is traced takes and gives trees of arrays. Two things need more: flax.nnx modules, of which the
caller is to see the changes, and what is no array, where ``filter=True`` makes that static.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sod2jax.arguments import graphs, nnx
from sod2jax.arguments.kept import kept, kept_arguments, opened
from sod2jax.errors import GraphNeeded

Args = tuple[Any, ...]
T = TypeVar("T")


class Passage:
    """Takes calls of a function to what is traced, and back.

    Modules are read as JAX's trees of arrays, which is quick. Where that is not enough, because
    they share variables or the function changes more than values, they go as graphs: then all
    calls do as ``nnx.jit`` does.

    Args:
      fun: the user's function.
      filters: whether what is no array is static.
      donates: whether arguments are consumed, so that variables in them must all come back.

    Attributes:
      traced: what is to be traced, of arguments as ``call`` passes them on.
    """

    def __init__(self, fun: Callable[..., Any], filters: bool, donates: bool):
        self._name = getattr(fun, "__name__", type(fun).__name__)
        self._filters, self._as_graphs = filters, False
        by_tree = nnx.returning_updates(fun, donates)
        by_graph = graphs.returning_graphs(fun, self)

        @functools.wraps(fun)
        def traced(*args: Any, **kwargs: Any) -> Any:
            if filters:
                args, kwargs = opened((args, kwargs))
            as_graphs = self._as_graphs or graphs.holds((args, kwargs))
            result = (by_graph if as_graphs else by_tree)(*args, **kwargs)
            return kept(result) if filters else result

        self.traced = traced

    def __repr__(self) -> str:
        return f"Passage({self._name}, {'graphs' if self._as_graphs else 'trees'})"

    def call(self, args: Args, kwargs: Mapping[str, Any], run: Callable[..., Any]) -> Any:
        """Runs a call, and writes to its arguments what the function wrote; its own result."""
        return self._tried(args, kwargs, run, lambda r: self._written(r, (args, kwargs)))

    def read(self, args: Args, kwargs: Mapping[str, Any], run: Callable[..., T]) -> T:
        """What is said of a call that is not made, as of its program."""
        return self._tried(args, kwargs, run, lambda result: result)

    def result(self, traced: Any) -> Any:
        """The function's own result in that of what is traced; nothing is written."""
        return graphs.result(nnx.result(self._opened(traced)))

    def _tried(
        self,
        args: Args,
        kwargs: Mapping[str, Any],
        run: Callable[..., Any],
        leave: Callable[[Any], Any],
    ) -> Any:
        kwargs = dict(kwargs)
        if not self._as_graphs:
            try:
                return leave(self._run(run, args, kwargs))
            except GraphNeeded as needed:
                self._as_graphs |= needed.always
        with graphs.outer(self):
            return leave(self._run(run, *graphs.split((args, kwargs), self)))

    def _run(self, run: Callable[..., Any], args: Args, kwargs: Mapping[str, Any]) -> Any:
        if self._filters:
            args, kwargs = kept_arguments(self._name, (args, kwargs))
        return run(*args, **kwargs)

    def _written(self, traced: Any, arguments: Any) -> Any:
        traced = self._opened(traced)
        if isinstance(traced, graphs.Graphs):
            return graphs.merge_back(traced, self)
        return nnx.write_back(traced, arguments)

    def _opened(self, traced: Any) -> Any:
        return opened(traced) if self._filters else traced
