"""What JAX itself says that it traced, lowered and compiled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax

_STAGES = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}
_open: list[list[str]] = []


def _listen(event: str, seconds: float, **_: object) -> None:
    if event in _STAGES:
        for log in _open:
            log.append(_STAGES[event])


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextlib.contextmanager
def compile_log() -> Iterator[list[str]]:
    """Collects "trace", "lower" and "compile" from JAX's monitoring, in any thread."""
    log: list[str] = []
    _open.append(log)
    try:
        yield log
    finally:
        _open.remove(log)
