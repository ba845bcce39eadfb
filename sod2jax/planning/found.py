"""What a search for a program comes to, and a trace on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sod2jax import _compat
from sod2jax.errors import DataDependentSizeError, FunctionError, TraceError
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import Dim
from sod2jax.planning.specialise import Specialisation
from sod2jax.planning.trust import AnotherCourse, Doubtful
from sod2jax.tracing.advice import wants_constant
from sod2jax.tracing.bound import NumberWanted
from sod2jax.tracing.generalise.varying import Reading
from sod2jax.tracing.regimes import Regime
from sod2jax.tracing.trace import Undecided


class TooManyRegimes(TraceError):
    """Each trace asked for one more decision."""


@dataclasses.dataclass(frozen=True)
class Match:
    """The program for a call.

    Attributes:
      specialisation: the program.
      regime: what the call's sizes led to.
      reading: all true sizes, and the inputs of the program beyond the call's arrays.
    """

    specialisation: Specialisation
    regime: Regime
    reading: Reading


@dataclasses.dataclass(frozen=True)
class Failed:
    """There is no program; the error says why."""

    error: Exception

    @property
    def can_be_generalised(self) -> bool:
        """Whether traces at concrete sizes may lead further."""
        final = (DataDependentSizeError, AnotherCourse)
        return isinstance(self.error, TraceError) and not isinstance(self.error, final)

    @property
    def needs_its_cause(self) -> bool:
        """Whether why there was no symbolic trace is of interest: not if no trace can be made."""
        return isinstance(self.error, TraceError) and not isinstance(self.error, FunctionError)

    def remains_where(self, relations: Mapping[str, Dim]) -> bool:
        """Whether it surely fails where relations of sizes hold, too.

        Python code asked for a number that is none there, or for what no comparison shows.
        """
        if isinstance(self.error, Doubtful):
            return True
        cause = self.error.__cause__
        if not isinstance(cause, NumberWanted):
            return wants_constant(cause)
        pairs = {dims.symbol(name): dim for name, dim in relations.items()}
        known = [dims.normalise(d.subs(pairs, simultaneous=True)) for d in cause.dims or ()]
        return not known or any(map(dims.is_polynomial, known))

    @property
    def is_undecided(self) -> bool:
        """Whether it failed for comparisons of sizes, which bounds may settle."""
        cause = self.error.__cause__
        undecided = isinstance(cause, _compat.InconclusiveDimensionOperation)
        return (undecided and not wants_constant(cause)) or isinstance(self.error, TooManyRegimes)


@dataclasses.dataclass(frozen=True)
class Divided:
    """A program that is for sizes alone that devices can divide.

    Attributes:
      asked: what must hold of the sizes.
    """

    asked: tuple[Comparison, ...]


Traced = Specialisation | Undecided | Divided | Failed
"""What may become of a trace."""
