"""A program as a flat list of steps over numbered values: what liveness is computed on."""

from __future__ import annotations

from dataclasses import dataclass

from sod2jax.memory.roles import Role


@dataclass(frozen=True, slots=True)
class Value:
    """Shape and size in bytes of an array."""

    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a flat program.

    Attributes:
      name: the primitive's name.
      role: what it does to memory.
      operands: numbers of the values read; literals are left out.
      results: numbers of the values written.
      expensive: not worth computing twice.
      repeats: reads an element of an operand more than once.
      effectful: must run even when nothing reads its results.
      in_place: (operand, result) pairs that may share memory.
      bodies: programs that it runs; it needs the largest of their workspaces.
    """

    name: str
    role: Role
    operands: tuple[int, ...]
    results: tuple[int, ...]
    expensive: bool = False
    repeats: bool = False
    effectful: bool = False
    in_place: tuple[tuple[int, int], ...] = ()
    bodies: tuple[FlatProgram, ...] = ()


@dataclass(frozen=True, slots=True)
class FlatProgram:
    """A flat program; a value is its position in ``values``.

    Attributes:
      carried: for the body of a loop, the arguments whose storage its outputs take over.
      is_loop: the outputs are needed beside the arguments, in storage of their own.
    """

    steps: tuple[Step, ...]
    values: tuple[Value, ...]
    arguments: tuple[int, ...]
    outputs: tuple[int, ...]
    carried: tuple[int, ...] = ()
    is_loop: bool = False
