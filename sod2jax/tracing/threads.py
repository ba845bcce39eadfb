"""Threads that a function starts, or gives work to: what they ask is part of its trace."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sod2jax.tracing import hooks
from sod2jax.tracing.hooks import Patch, while_tracing


def _start(original: Callable[..., Any], thread: threading.Thread) -> Any:
    thread.run = hooks.on_other_threads(thread.run)
    return original(thread)


def _submit(
    original: Callable[..., Any],
    pool: ThreadPoolExecutor,
    function: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    function = hooks.on_other_threads(function)
    with hooks.unrecorded():  # the threads that it may start outlive the trace
        return original(pool, function, *args, **kwargs)


PATCHES = (
    Patch(threading.Thread, "start", while_tracing(_start)),
    Patch(ThreadPoolExecutor, "submit", while_tracing(_submit)),
)
