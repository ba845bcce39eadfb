"""Live ranges of the buffers that XLA is expected to allocate for a static jaxpr.

``fusion`` says which values are in memory at all. On top of that:

- A kernel writes over an operand of the same size that is dead after it, when every path between
  the two is pointwise and reshapes nothing. Sorts, updates and loop carries work in place too.
- The body of a loop or branch needs a *workspace*, the peak of its own buffers, while its equation
  runs: that of the largest branch, and of one iteration. A loop's workspace is what it needs beside
  its carries; a branch writes its results where the ``cond`` has them.
- Arguments are the caller's: live throughout and never written.
- A kernel runs where its last equation stands. XLA may choose another order.

Not modelled: what one backend's libraries add, such as broadcast masks and scales that XLA's CPU
backend keeps as whole arrays for its attention kernels, bfloat16 arithmetic done in float32 there,
and the inside of random number generators.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from sod2jax._compat import Jaxpr
from sod2jax.memory.flatten import flatten
from sod2jax.memory.fusion import Fusion, fuse, is_broadcast
from sod2jax.memory.roles import Role
from sod2jax.memory.steps import FlatProgram, Step

__all__ = ["Buffer", "live_bytes", "live_ranges"]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A piece of memory, for one value or for several one after another.

    Attributes:
      name: ``primitive.step``, ``primitive.step.workspace``, ``arg<i>`` or ``out<i>``.
      size: bytes, not rounded up to any alignment.
      first: step that writes it first; steps are equations with calls inlined.
      last: step that reads it last, inclusive.
      kind: "argument" and "output" buffers are the caller's, "temp" buffers the executable's own.
    """

    name: str
    size: int
    first: int
    last: int
    kind: Literal["argument", "output", "temp"]


def live_ranges(closed_jaxpr: Jaxpr) -> tuple[Buffer, ...]:
    """The buffers of a jaxpr with concrete shapes, in the model described at the module's head.

    Constants count as arguments. Empty values and arguments that nothing reads have no buffer.
    """
    return _buffers(flatten(closed_jaxpr))


def live_bytes(buffers: Iterable[Buffer]) -> list[int]:
    """Bytes live at each step, from step 0 to the last step of any buffer."""
    buffers = tuple(buffers)
    change = [0] * (max((buffer.last for buffer in buffers), default=-1) + 2)
    for buffer in buffers:
        change[buffer.first] += buffer.size
        change[buffer.last + 1] -= buffer.size
    return list(accumulate(change))[:-1]


def _buffers(program: FlatProgram) -> tuple[Buffer, ...]:
    fusion = fuse(program)
    end = max(len(program.steps) - 1, 0)
    arguments = (
        Buffer(f"arg{i}", program.values[value].size, 0, end, "argument")
        for i, value in enumerate(program.arguments)
        if fusion.usage[value].any and value not in program.carried
    )
    workspaces = (
        Buffer(f"{program.steps[i].name}.{i}.workspace", _workspace(program.steps[i]), i, i, "temp")
        for i in fusion.live
    )
    computed = _Storage(program, fusion, end).buffers()
    return tuple(b for b in (*arguments, *computed, *workspaces) if b.size)


def _workspace(step: Step) -> int:
    """Bytes that the bodies of a step need beside its operands and results."""
    return max((_body_peak(body) for body in step.bodies), default=0)


def _body_peak(body: FlatProgram) -> int:
    kinds = ("temp", "output") if body.is_loop else ("temp",)
    peak = max(live_bytes(b for b in _buffers(body) if b.kind in kinds), default=0)
    return max(peak - sum(body.values[carry].size for carry in body.carried), 0)


@dataclass(frozen=True, slots=True)
class _Sources:
    """Materialised values that a fused value is computed from.

    Attributes:
      same: element ``i`` is computed from element ``i`` of these.
      moved: elements of these are needed at other positions.
    """

    same: frozenset[int] = frozenset()
    moved: frozenset[int] = frozenset()

    def __or__(self, other: _Sources) -> _Sources:
        return _Sources(self.same | other.same, self.moved | other.moved)

    def reindexed(self) -> _Sources:
        return _Sources(moved=self.same | self.moved)

    @property
    def overwritable(self) -> frozenset[int]:
        return self.same - self.moved


class _Storage:
    """Assigns materialised values to buffers: values that may share one after another do."""

    def __init__(self, program: FlatProgram, fusion: Fusion, end: int):
        self.program, self.end = program, end
        self.roots = {value: value for value in (*program.arguments, *fusion.materialised)}
        for index in fusion.live:
            self._look_through(program.steps[index])
        self.results = [self.roots[output] for output in program.outputs]
        self.last = {
            value: max(fusion.usage[value].kernels, default=0) for value in self.roots.values()
        } | dict.fromkeys(self.results, end)
        self.names: dict[int, str] = {}
        self.first: dict[int, int] = {}
        self.holder: dict[int, int] = {}  # value -> first value of its buffer
        for carry in program.carried:
            self._open(carry, f"carry{carry}", 0)
        self._assign(fusion)

    def buffers(self) -> list[Buffer]:
        """The buffers of results and temporaries."""
        buffers = {}
        for value, holder in self.holder.items():
            last = max(self.last[value], self.first[value])
            buffer = buffers.get(holder)
            if buffer is None:
                size = self.program.values[holder].size
                buffers[holder] = Buffer(self.names[value], size, self.first[value], last, "temp")
            else:
                buffers[holder] = replace(buffer, last=max(buffer.last, last))
        copies = []
        taken: set[int] = set()
        for position, root in enumerate(self.results):
            name, holder = f"out{position}", self.holder.get(root)
            if holder is None or holder in taken:
                size = self.program.values[root].size
                copies.append(Buffer(name, size, self.end, self.end, "output"))
                continue
            taken.add(holder)
            buffers[holder] = replace(buffers[holder], name=name, kind="output")
        return [*buffers.values(), *copies]

    def _look_through(self, step: Step) -> None:
        """Aliases of a value in memory stand for that value."""
        if step.role is not Role.ALIAS:
            return
        pairs = zip(step.operands, step.results, strict=True)
        self.roots |= {r: self.roots[o] for o, r in pairs if o in self.roots}

    def _open(self, value: int, name: str, first: int) -> None:
        self.names[value], self.first[value], self.holder[value] = name, first, value

    def _assign(self, fusion: Fusion) -> None:
        sources: dict[int, _Sources] = {
            argument: _Sources(same=frozenset({argument})) for argument in self.program.arguments
        }
        for index in fusion.live:
            step = self.program.steps[index]
            for position, result in enumerate(step.results):
                reads = self._sources(step, position, sources)
                if result not in fusion.materialised:
                    sources[result] = reads
                    continue
                suffix = f":{position}" if len(step.results) > 1 else ""
                self._open(result, f"{step.name}.{index}{suffix}", index)
                sources[result] = _Sources(same=frozenset({result}))
                self._overwrite(result, reads.overwritable, index)

    def _sources(self, step: Step, position: int, sources: dict[int, _Sources]) -> _Sources:
        """What one result of a step is computed from, as far as it may be overwritten."""
        if step.role is Role.ALIAS:
            return sources[step.operands[position]].reindexed()
        if step.role is Role.OPAQUE:
            pairs = [operand for operand, r in step.in_place if r == step.results[position]]
            return _Sources(same=frozenset(self.roots[operand] for operand in pairs))
        same = {operand for operand, _ in step.in_place}
        if step.role is Role.POINTWISE:
            same = {o for o in step.operands if not is_broadcast(self.program, step, o)}
        reads = _Sources()
        for operand in step.operands:
            reads |= sources[operand] if operand in same else sources[operand].reindexed()
        return reads

    def _overwrite(self, result: int, candidates: frozenset[int], index: int) -> None:
        """Puts a result in the buffer of a dead operand, if one has its size."""
        values = self.program.values
        taken = {self.holder[r] for r in self.program.steps[index].results if r in self.holder}
        for operand in sorted(candidates):
            holder = self.holder.get(operand)
            if holder is None or holder in taken or self.last[operand] > index:
                continue
            if operand in self.results or values[operand].size != values[result].size:
                continue
            self.holder[result] = holder
            return
