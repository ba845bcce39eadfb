"""Buckets in the stages that ``jax.jit`` has: lowered, then compiled."""

from __future__ import annotations

from typing import Any, Protocol

import jax

from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import ShapeError
from sod2jax.runtime.executables import Executables


class Function(Protocol):
    """What serves calls, and says from which bucket."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Serves a call."""

    def bucket_for(self, *args: Any, **kwargs: Any) -> Bucket | None:
        """The bucket that would serve a call."""


class _Stage:
    """What all stages of a bucket know of the arguments that it was found for.

    Args:
      bucket: that serves them.
      traced: the function at their shapes.
      out_info: the shapes and dtypes of the result, at those of the arguments.

    Attributes:
      out_info: the same.
    """

    def __init__(self, bucket: Bucket, traced: jax.stages.Traced, out_info: Any):
        self.bucket, self._traced, self.out_info = bucket, traced, out_info

    @property
    def args_info(self) -> Any:
        """As that of ``jax.stages.Lowered``, at the shapes of the arguments."""
        return self._traced.args_info

    @property
    def in_avals(self) -> Any:
        """What the arguments are to JAX."""
        return self._traced.in_avals

    @property
    def donate_argnums(self) -> tuple[int, ...]:
        """The places, among all arrays of the arguments, of those that are consumed."""
        return self._traced.donate_argnums

    @property
    def in_tree(self) -> Any:
        """The structure of (args, kwargs)."""
        return jax.tree.structure(self._traced.args_info)

    @property
    def out_tree(self) -> Any:
        """The structure of the result."""
        return jax.tree.structure(self.out_info)


class Lowered(_Stage):
    """The lowered program of the bucket that serves some arguments, as ``jax.stages.Lowered`` is.

    A bucket has the best of several versions, which shows when it is compiled: so it is, once, for
    the text. Made by ``OptimizedFunction.lower``.

    Args:
      function: that calls of the compiled bucket go through.
      executables: of its program.
      bucket: that serves the arguments.
      traced: the function at the shapes of the arguments.
      out_info: of its result, there.

    Attributes:
      bucket: that serves the arguments.
    """

    def __init__(
        self,
        function: Function,
        executables: Executables,
        bucket: Bucket,
        traced: jax.stages.Traced,
        out_info: Any,
    ):
        super().__init__(bucket, traced, out_info)
        self._function, self._executables = function, executables

    def as_text(self, dialect: str | None = None, *, debug_info: bool = False) -> str:
        """The program of the bucket, in StableHLO or ``dialect``."""
        return self._lowered().as_text(dialect, debug_info=debug_info)

    def compiler_ir(self, dialect: str | None = None) -> Any:
        """The program of the bucket, as the compiler's own object."""
        return self._lowered().compiler_ir(dialect)

    def cost_analysis(self) -> Any:
        """What XLA estimates of the program before it is compiled."""
        return self._lowered().cost_analysis()

    def compile(self) -> Compiled:
        """The compiled bucket."""
        of = (self._function, self._executables, self.bucket)
        return Compiled(*of, self._traced, self.out_info)

    def _lowered(self) -> jax.stages.Lowered:
        return self._executables.get(self.bucket).lowered()

    def __repr__(self) -> str:
        return f"Lowered([{self.bucket}] of {self._executables.part.program.name})"


class Compiled(_Stage):
    """A compiled bucket, as ``jax.stages.Compiled`` is; it takes all sizes that the bucket serves.

    Args:
      function: that calls go through.
      executables: of its program.
      bucket: which one.
      traced: the function at the shapes that it was lowered for.
      out_info: of its result, there.

    Attributes:
      bucket: which one.
    """

    def __init__(
        self,
        function: Function,
        executables: Executables,
        bucket: Bucket,
        traced: jax.stages.Traced,
        out_info: Any,
    ):
        super().__init__(bucket, traced, out_info)
        self._function = function
        self._executable = executables.get(bucket)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function on arrays of sizes that the bucket serves.

        Raises:
          ShapeError: another bucket, or none, serves these.
        """
        bucket = self._function.bucket_for(*args, **kwargs)
        if bucket != self.bucket:
            serves = "none" if bucket is None else f"[{bucket}]"
            raise ShapeError(
                f"this is compiled for the bucket [{self.bucket}], and {serves} serves a call with "
                "these shapes: call the function itself"
            )
        return self._function(*args, **kwargs)

    def as_text(self) -> str:
        """What XLA made of the program."""
        return self._executable.call.as_text()

    def cost_analysis(self) -> Any:
        """XLA's estimates, such as "flops"."""
        return self._executable.call.cost_analysis()

    def memory_analysis(self) -> Any:
        """The bytes that XLA assigned."""
        return self._executable.call.memory_analysis()

    def runtime_executable(self) -> Any:
        """XLA's own object."""
        return self._executable.call.runtime_executable()

    def __repr__(self) -> str:
        return f"Compiled([{self.bucket}])"
