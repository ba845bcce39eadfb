"""A call of one executable: pad on the host, run it, trim without compiling."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sod2jax.buckets.bucket import Bucket
from sod2jax.ir import dims
from sod2jax.ir.program import Program
from sod2jax.runtime import plan
from sod2jax.runtime.compile import Executable
from sod2jax.runtime.executables import Executables
from sod2jax.runtime.plan import ANYWHERE, Landing, Outcome
from sod2jax.transfer import owned, pad


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class WholePlan:
    """The plan of a call whose program runs in one executable.

    Attributes:
      program: what runs.
      executables: its compiled buckets.
      bucket: where it runs, unless only a larger one is kept.
      sizes: int32[k], the true sizes in the order of ``program.symbols``.
      order: for each input of the program, the position of its array among the call's leaves.
      dynamic: inputs that have a symbolic dimension.
      constants: the inputs beyond the call's own, which depend on its sizes only.
      padded: the same, on the device, as the planned bucket takes them.
      out_shapes: true shape of each output.
      out_tree: structure of the result.
      elements: (true, padded) ones of the symbolic inputs, in the planned bucket.
      landing: where its results are to lie.
    """

    program: Program
    executables: Executables
    bucket: Bucket
    sizes: np.ndarray
    order: tuple[int, ...]
    dynamic: tuple[int, ...]
    constants: tuple[Any, ...]
    padded: tuple[Any, ...]
    out_shapes: tuple[tuple[int, ...], ...]
    out_tree: Any
    elements: tuple[int, int]
    landing: Landing = ANYWHERE

    def run(self, leaves: Sequence[Any], poison: bool, foreign: bool = False) -> Outcome:
        """Runs a call whose leaves have the plan's shapes; see ``Plan.run``."""
        executables = self.executables.foreign if foreign else self.executables
        executable = executables.get(self.bucket)
        is_planned = executable.bucket == self.bucket and not poison
        constants = self.padded if is_planned else self.constants
        inputs = [*map(leaves.__getitem__, self.order), *constants]
        if np.ndarray in set(map(type, inputs)):
            inputs = [x if k in self.dynamic else owned(x) for k, x in enumerate(inputs)]
        for k in self.dynamic:
            poisoned = poison and not executable.wants_zeros(k)
            inputs[k] = pad(inputs[k], executable.in_shapes[k], poisoned)
        outputs = executable.run(self.sizes, self.program.constants, inputs)
        trimmed = self.landing.trimmed(outputs, self.out_shapes)
        result = jax.tree.unflatten(self.out_tree, trimmed)
        return Outcome(executable.bucket, self._elements_in(executable), result)

    def _elements_in(self, executable: Executable) -> tuple[int, int]:
        """The elements where the call runs, which may be a larger bucket than the planned one."""
        if executable.bucket == self.bucket:
            return self.elements
        return plan.elements(self.program, self._named_sizes, executable.in_shapes)

    @property
    def _named_sizes(self) -> dict[str, int]:
        return dict(zip(self.program.symbols, map(int, self.sizes), strict=True))

    def __repr__(self) -> str:
        return plan.described("WholePlan", self.program, self._named_sizes, self.bucket)


def plan_whole(
    program: Program,
    executables: Executables,
    bucket: Bucket,
    sizes: Mapping[str, int],
    order: tuple[int, ...],
    shapes: Sequence[tuple[int, ...]],
    constants: tuple[Any, ...] = (),
    landing: Landing = ANYWHERE,
) -> WholePlan:
    """The plan of every call with these true sizes; ``shapes`` are the padded input shapes."""
    own = len(shapes) - len(constants)
    with jax.ensure_compile_time_eval():  # a call may come from inside a transformation
        pairs = zip(constants, shapes[own:], strict=True)
        padded = tuple(jax.device_put(pad(x, shape, False)) for x, shape in pairs)
    return WholePlan(
        program=program,
        executables=executables,
        bucket=bucket,
        sizes=np.array([sizes[name] for name in program.symbols], np.int32),
        order=order,
        dynamic=plan.symbolic_inputs(program),
        constants=constants,
        padded=padded,
        out_shapes=tuple(
            tuple(int(dims.evaluate(d, sizes)) for d in shape) for shape in program.out_shapes
        ),
        out_tree=program.tree(sizes),
        elements=plan.elements(program, sizes, shapes),
        landing=landing,
    )
