"""What JAX says while it traces and compiles: lines of source, settings, durations."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax._src import config, core, source_info_util
from jax._src.mesh import get_concrete_mesh

from sod2jax._compat.jaxprs import JaxprEqn, is_wide_dtype

# Where the files of JAX and of this package lie.
JAX_DIRECTORY = os.path.dirname(jax.__file__) + os.sep
PACKAGE_DIRECTORY = os.path.dirname(os.path.dirname(__file__)) + os.sep

# A line of the user's is never one of this package, whose hooks stand between the two.
source_info_util.register_exclusion(PACKAGE_DIRECTORY)


def source_line(*eqns: JaxprEqn) -> str:
    """The user's line, ``file:line (function)``, of the first of the equations that knows it.

    One in a function of JAX's own, such as ``jnp.var``, knows none; the ``jit`` around it does.
    """
    for eqn in eqns:
        frame = source_info_util.user_frame(eqn.source_info.traceback)
        if frame is not None:
            return f"{frame.file_name}:{frame.start_line} ({frame.function_name})"
    return "unknown source"


@contextlib.contextmanager
def equation_scope(eqn: JaxprEqn) -> Iterator[None]:
    """Re-enters the configuration, the names and the source line that an equation was traced under.

    One that knows no line of the user's has that of the equation around it. Its names come behind
    those around.
    """
    with contextlib.ExitStack() as stack:
        traceback = eqn.source_info.traceback
        known = source_info_util.user_frame(traceback) is not None
        names = source_info_util.current_name_stack() + eqn.source_info.name_stack
        stack.enter_context(
            source_info_util.user_context(traceback if known else None, name_stack=names)
        )
        stack.enter_context(eqn.ctx.manager)
        used = [atom.aval.dtype for atom in (*eqn.invars, *eqn.outvars)]
        if not config.enable_x64.value and any(map(is_wide_dtype, used)):
            stack.enter_context(jax.enable_x64(True))
        yield


def trace_of(tracer: Any) -> Any:
    """The trace that a tracer belongs to; None for other values."""
    return getattr(tracer, "_trace", None)


def current_trace() -> Any:
    """The innermost trace of this thread."""
    return core.trace_ctx.trace


@contextlib.contextmanager
def in_trace(trace: Any) -> Iterator[None]:
    """What is bound inside the block is part of a trace, whichever goes on inside of it.

    ``ensure_compile_time_eval`` would compute what has no operands.
    """
    with core.set_current_trace(trace), config.eager_constant_folding(False):
        yield


def trace_context() -> Any:
    """The settings that tracing reads, such as 64-bit mode, and the mesh around; hashable."""
    return config.trace_context(), get_concrete_mesh()


def listen_for_compiles(callback: Callable[[str, float], None]) -> None:
    """Calls ``callback(stage, seconds)`` for each trace, lowering and compile that JAX does.

    ``stage`` is "trace", "lower" or "compile".
    """
    stages = {
        "/jax/core/compile/jaxpr_trace_duration": "trace",
        "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
        "/jax/core/compile/backend_compile_duration": "compile",
    }

    def listener(event: str, duration_secs: float, **_: str | int) -> None:
        if event in stages:
            callback(stages[event], duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listener)
