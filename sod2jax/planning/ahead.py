"""Everything compiled ahead of time, several buckets at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import tqdm

from sod2jax.errors import TargetError
from sod2jax.planning.choices import Choice
from sod2jax.target import TOPOLOGIES, Target, topology


def compile_all(name: str, choices: Sequence[Choice]) -> None:
    """Compiles all buckets in threads, and audits the programs in this one meanwhile.

    Args:
      name: of the function, for the progress bar.
      choices: the programs, each with a bucket.

    Raises:
      UnsupportedPrimitiveError: a primitive has no exact padded form.
    """
    jobs = [job for c in choices for job in c.specialisation.buckets(c.plan.bucket)]
    audited = [choice for choice in choices if choice.specialisation.trust.begin()]
    bar = tqdm.tqdm(total=len(jobs), desc=f"compile {name}", unit="bucket", disable=None)
    with bar, ThreadPoolExecutor() as pool:
        built = pool.map(lambda job: job[0].get(job[1]), reversed(jobs))
        for choice in audited:
            choice.specialisation.trust.audit_own()
        for _ in built:
            bar.update()
    for choice in audited:
        executable = choice.specialisation.executables.get(choice.plan.bucket)
        choice.specialisation.trust.finish(executable, choice.plan.program.constants)


def device_meant(fun: Callable[..., Any], target: Any) -> Any:
    """The device that an argument ``target`` is or names; None if it is the function's own."""
    if isinstance(target, str) and target in TOPOLOGIES and not _takes(fun, "target"):
        return topology(target)
    return target if isinstance(target, jax.Device) else None


def _takes(fun: Callable[..., Any], name: str) -> bool:
    """Whether a function may have a keyword argument of that name."""
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def check_is_here(name: str, aim: Target | None) -> None:
    """Raises TargetError if what a function is compiled for is not there."""
    if aim is not None:
        raise TargetError(
            f"{name} is compiled for {aim.kind}, which is not there: its programs can be read, not "
            "called. To run the function here, optimize it once more"
        )
