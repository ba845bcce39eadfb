"""Which values of a flat program XLA is expected to keep in memory, and which kernels read them.

The model is producer-consumer fusion, decided backwards from the outputs:

1. Contractions, convolutions, sorts, control flow and every primitive without a known role write
   whole results and read whole operands. Reductions write whole results and have pointwise and
   data-moving operands fused into them.
2. A pointwise or data-moving value is *materialised* iff it is an output, or a step reads it whole,
   or it is expensive (``exp``, ``tanh``, a float division, a gather, ...) and several kernels need
   it or one needs each element many times. Otherwise every kernel that needs the value recomputes
   it from the materialised values behind it, which stay live until then.
3. Reshapes and other bitcasts are the operand itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sod2jax.memory.roles import Role
from sod2jax.memory.steps import FlatProgram, Step

__all__ = ["Fusion", "Usage", "fuse", "is_broadcast"]


@dataclass(slots=True)
class Usage:
    """How the rest of a program uses one value.

    Attributes:
      whole: it must be an array in memory.
      repeated: some kernel reads an element more than once.
      kernels: steps that read it, directly or through steps fused into them.
    """

    whole: bool = False
    repeated: bool = False
    kernels: set[int] = field(default_factory=set)

    @property
    def any(self) -> bool:
        """Whether anything reads the value at all."""
        return self.whole or bool(self.kernels)

    def add(self, other: Usage) -> None:
        """Joins a further use."""
        self.whole |= other.whole
        self.repeated |= other.repeated
        self.kernels |= other.kernels


@dataclass(frozen=True, slots=True)
class Fusion:
    """What runs and what is written.

    Attributes:
      usage: of each value.
      materialised: values that kernels write to memory; arguments are not among them.
      live: steps that something depends on, in order.
    """

    usage: tuple[Usage, ...]
    materialised: frozenset[int]
    live: tuple[int, ...]


def fuse(program: FlatProgram) -> Fusion:
    """Decides, from the last step to the first, what is written to memory."""
    usage = [Usage() for _ in program.values]
    for output in program.outputs:
        usage[output].whole = True
    materialised: set[int] = set()
    live: list[int] = []
    for index in reversed(range(len(program.steps))):
        step = program.steps[index]
        if not step.effectful and not any(usage[result].any for result in step.results):
            continue
        live.append(index)
        if step.role is Role.ALIAS:
            for operand, result in zip(step.operands, step.results, strict=True):
                usage[operand].add(usage[result])
            continue
        written = {result for result in step.results if _is_written(step, usage[result])}
        materialised |= written
        demand = _demand(step, index, usage, written)
        for operand in step.operands:
            usage[operand].add(demand)
            usage[operand].repeated |= is_broadcast(program, step, operand)
    return Fusion(tuple(usage), frozenset(materialised), tuple(reversed(live)))


def is_broadcast(program: FlatProgram, step: Step, operand: int) -> bool:
    """Whether a pointwise step stretches axes of size 1 of an operand."""
    if step.role is not Role.POINTWISE:
        return False
    return program.values[operand].shape != program.values[step.results[0]].shape


def _is_written(step: Step, usage: Usage) -> bool:
    if usage.whole or step.role in (Role.OPAQUE, Role.REDUCE):
        return True
    return step.expensive and (usage.repeated or len(usage.kernels) > 1)


def _demand(step: Step, index: int, usage: list[Usage], written: set[int]) -> Usage:
    """What a step asks of each of its operands."""
    demand = Usage(whole=step.role is Role.OPAQUE, repeated=step.repeats)
    if written or not step.results:
        demand.kernels.add(index)
    for result in step.results:
        if result not in written:
            demand.kernels |= usage[result].kernels
            demand.repeated |= usage[result].repeated
    return demand
