"""What serves a call: a program, and the plan of its run."""

from __future__ import annotations

import dataclasses

from sod2jax import rewrite
from sod2jax.errors import PlacementError
from sod2jax.planning import placement
from sod2jax.planning.found import Match
from sod2jax.planning.requests import Request
from sod2jax.planning.specialise import Specialisation
from sod2jax.runtime.dispatch import plan_whole
from sod2jax.runtime.parts import plan_parts
from sod2jax.runtime.plan import Landing, Plan
from sod2jax.tracing.regimes import Regime


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Choice:
    """What serves a call.

    Attributes:
      plan: how it runs.
      specialisation: the program that runs.
      regime: what decisions led to that program, with the call's own shapes.
      is_checked: whether the program was compared at the call's sizes.
    """

    plan: Plan
    specialisation: Specialisation
    regime: Regime
    is_checked: bool = False

    @property
    def is_doubtful(self) -> bool:
        """Whether there is reason to doubt the program since it was chosen."""
        return self.specialisation.trust.is_checked and not self.is_checked

    def __repr__(self) -> str:
        return f"Choice({self.plan!r})"


def served(match: Match, request: Request, order: tuple[int, ...]) -> Choice | PlacementError:
    """How a program serves a call, or why its padded arrays cannot lie where the call's do.

    Args:
      match: the program for the call.
      request: what was searched for.
      order: the place of each of the program's arrays among the leaves of the call.
    """
    specialisation, reading = match.specialisation, match.reading
    sizes, program = reading.sizes, specialisation.analysis.program
    bucket = specialisation.executables.part.ladders.bucket(sizes)
    shapes = rewrite.padded_shapes(program, bucket.part_of(program.region))
    if (misfit := placement.misfit(program.name, request.places, shapes)) is not None:
        return misfit
    there = specialisation.analysis.places
    wanted = there.of_results(program.out_tree)
    landing = Landing(wanted if any(wanted) else (), request.commits, there.explicit_mesh)
    more = reading.constants
    if program.computed_dims:
        parts = specialisation.parts
        plan = plan_parts(program, parts, bucket, sizes, order, shapes, more, landing)
    else:
        executables = specialisation.executables
        plan = plan_whole(program, executables, bucket, sizes, order, shapes, more, landing)
    return Choice(plan, specialisation, match.regime, specialisation.trust.is_checked)
