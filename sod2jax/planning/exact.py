"""Exact runs: the only way to one is a value that says why, and every reason is told."""

from __future__ import annotations

import dataclasses
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from sod2jax.arguments.calls import on_device
from sod2jax.errors import (
    DataDependentSizeError,
    ExactFallbackWarning,
    FunctionError,
    Sod2jaxError,
)
from sod2jax.tracing import advice

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Exact:
    """A call runs with its exact shapes.

    Attributes:
      error: why; what is raised where the user wants no such run.
      is_harmless: whether there is nothing to warn of: JAX was told to run so, or there are no
        elements to compute with.
    """

    error: Exception
    is_harmless: bool = False

    @property
    def reason(self) -> str:
        """Why, in words."""
        return str(self.error)

    @property
    def is_likely_to_fail(self) -> bool:
        """Whether the function itself failed: the run may raise that, and then says all."""
        return isinstance(self.error, FunctionError)


def debugging() -> Exact | None:
    """The reason for exact runs that JAX's own settings give; None if they give none.

    It was told to compile nothing, or to stop at what pad lanes may hold.
    """
    names = ("jax_disable_jit", "jax_debug_nans", "jax_debug_infs")
    asked = [name for name in names if getattr(jax.config, name)]
    return Exact(Sod2jaxError(f"{asked[0]} is set"), is_harmless=True) if asked else None


class ExactRuns:
    """A function at exact shapes: under jit, or step by step where sizes depend on values.

    Args:
      fun: the function.
      jitted: under jit.
    """

    def __init__(self, fun: Callable[..., Any], jitted: Callable[..., Any]):
        self._fun, self.jitted = fun, jitted
        self._computes_sizes = False

    def __repr__(self) -> str:
        return f"ExactRuns({'step by step' if self._computes_sizes else 'under jit'})"

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Runs a call."""
        if not self._computes_sizes:
            try:
                return self.jitted(*args, **kwargs)
            except DataDependentSizeError:
                self._computes_sizes = True
        args, kwargs = jax.tree.map(on_device, (args, dict(kwargs)))
        return jax.tree.map(jnp.asarray, self._fun(*args, **kwargs))


class Fallbacks:
    """Tells of exact runs: each reason once, or as an error.

    Args:
      name: of the function.
      how: what an exact run is, for the warning.
      on_unsupported: "error" to raise.
      counted: is told the reason of each run that there is.
    """

    def __init__(
        self,
        name: str,
        how: str,
        on_unsupported: str,
        counted: Callable[[str], None] = lambda reason: None,
    ):
        self._name, self._how, self._raises = name, how, on_unsupported == "error"
        self._counted = counted
        self._reasons: dict[str, None] = {}
        self._lock = threading.Lock()

    @property
    def reasons(self) -> tuple[str, ...]:
        """All that were told, in order."""
        return tuple(self._reasons)

    def tell(self, exact: Exact) -> None:
        """Warns of a reason that is new, before there is a run, unless that is likely to fail.

        Raises:
          Exception: that of the exact run, if the user wants none.
        """
        if not exact.is_likely_to_fail:
            self._tell(exact)

    def run(self, exact: Exact, run: Callable[[], Result]) -> Result:
        """What an exact run returns, of which it tells; an error of the run comes out as it is.

        Raises:
          Exception: that of the exact run, if the user wants none.
        """
        if not exact.is_likely_to_fail:
            self._announce(exact)
        try:
            result = run()
        except Exception as error:
            if remedy := advice.for_jit(error):
                error.add_note(f"What can help in {self._name}: {remedy}.")
            raise
        if exact.is_likely_to_fail:
            self._announce(exact)
        return result

    def _announce(self, exact: Exact) -> None:
        self._tell(exact)
        self._counted(exact.reason)

    def _tell(self, exact: Exact) -> None:
        if self._raises and not exact.is_harmless:
            raise exact.error
        with self._lock:
            is_new = exact.reason not in self._reasons
            self._reasons.setdefault(exact.reason)
        if is_new and not exact.is_harmless:
            warn(f"{self._name} {self._how}: {exact.reason}", ExactFallbackWarning)

    def __repr__(self) -> str:
        return f"Fallbacks({self._name}: {len(self._reasons)} reasons)"


class Silent(Fallbacks):
    """Leaves it to the one who asked for a plan to tell."""

    def __init__(self) -> None:
        super().__init__("", "", "exact")

    def _tell(self, exact: Exact) -> None:
        """Does nothing: the plan itself carries the reason."""


def warn(message: str, category: type[Warning]) -> None:
    """Warns at the line that called this package."""
    warnings.warn(message, category, stacklevel=_callers_level())


def _callers_level() -> int:
    """The ``stacklevel`` of ``warnings.warn`` in ``warn`` that points outside of this package."""
    package = __name__.partition(".")[0] + "."
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(package):
        frame, level = frame.f_back, level + 1
    return level
