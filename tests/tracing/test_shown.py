"""What goes to people alone is told by what is called, and not by its name or what is around it."""

from __future__ import annotations

import io
import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import sod2jax
from tests.tracing.test_guards import record

SCALE = {"layer_5": 2.0, "5": 2.0, "(5,)": 2.0}
log = logging.getLogger("shown")
adapter = logging.LoggerAdapter(log, {})


class Config:
    """Has methods that are named as those of loggers."""

    def info(self, key: str) -> float:
        return SCALE.get(key, 1.0)

    warn = critical = info


config = Config()


class Layer:
    log = log

    def __init__(self) -> None:
        self.own = log

    def __call__(self, x: jax.Array) -> jax.Array:
        self.log.warning(f"{x.shape}")
        self.own.warning("%s", x.shape)
        return x


class Keeps(logging.Handler):
    """Keeps what is logged, for the function to read."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


keeps = Keeps()
kept = logging.getLogger("kept")
kept.addHandler(keeps)
kept.propagate = False


def kept_text(x: jax.Array) -> jax.Array:
    keeps.texts.clear()
    kept.warning("%s", x.shape[0])
    return x * SCALE.get(keeps.texts[0], 1.0)


def assigned(x: jax.Array) -> jax.Array:
    log.debug("scale is %s", s := SCALE.get(f"layer_{x.shape[0]}", 1.0))
    return x * s


def assigned_text(x: jax.Array) -> jax.Array:
    print(text := f"layer_{x.shape[0]}")
    return x * SCALE.get(text, 1.0)


def looked_up(x: jax.Array) -> jax.Array:
    print({"layer_5": 1}.get(f"layer_{x.shape[0]}"))
    return x


def printed_elsewhere(x: jax.Array) -> jax.Array:
    out = io.StringIO()
    print(x.shape[0], **{"file": out})
    return x * SCALE.get(out.getvalue().strip(), 1.0)


def printed_to_a_namesake(x: jax.Array) -> jax.Array:
    files = SimpleNamespace(stdout=io.StringIO())
    print(x.shape[0], file=files.stdout)
    return x * SCALE.get(files.stdout.getvalue().strip(), 1.0)


def printed_by_another(x: jax.Array) -> jax.Array:
    print = SCALE.get
    return x * (print(f"layer_{x.shape[0]}") or 1.0)


def formatted_error(x: jax.Array) -> jax.Array:
    try:
        raise ValueError(x.shape[0])
    except ValueError:
        text = traceback.format_exc()
    return x * SCALE.get(text.splitlines()[-1].rpartition(" ")[2], 1.0)


def formatted_record(x: jax.Array) -> jax.Array:
    line = logging.LogRecord("a", 10, "a", 1, "%s", (x.shape[0],), None)
    return x * SCALE.get(line.getMessage(), 1.0)


def used_result(x: jax.Array) -> jax.Array:
    return x * (2 if log.info(f"layer_{x.shape[0]}") is None else 3)


def stored(x: jax.Array) -> jax.Array:
    texts: list[str] = []
    log.debug("%s", texts.append(f"layer_{x.shape[0]}"))
    return x * SCALE.get(texts[0], 1.0)


print(IN_A_CALL := [lambda x: x * SCALE.get(f"layer_{x.shape[0]}", 1.0)])

READ: dict[str, Callable[[jax.Array], Any]] = {
    "method of another": lambda x: x * config.info(f"layer_{x.shape[0]}"),
    "unused method of another": lambda x: [x, config.warn(f"layer_{x.shape[0]}")][0],
    "assigned": assigned,
    "assigned text": assigned_text,
    "looked up": looked_up,
    "printed elsewhere": printed_elsewhere,
    "printed to a namesake": printed_to_a_namesake,
    "printed by another": printed_by_another,
    "formatted error": formatted_error,
    "formatted record": formatted_record,
    "kept": kept_text,
    "used result": used_result,
    "stored": stored,
    "written in a call": IN_A_CALL[0],
}


def printed(x: jax.Array) -> jax.Array:
    n = x.shape[0]
    print(x.shape, f"{n:>4}", str(n), repr(n), "%s" % n, "{}".format(n))  # noqa: UP031, UP032
    print("x".join(map(str, x.shape)), [f"{k}" for k in x.shape], *(f"{k}" for k in x.shape))
    print("shape: " + str(n), file=sys.stderr)
    print(f"{x.shape}", flush=True, sep=" ")
    return x


def logged(x: jax.Array) -> jax.Array:
    log.warning("%s of %s", x.shape, x.dtype)
    log.info(f"{x.shape[0]}")
    log.log(30, "%s", x.shape[0])
    adapter.warning("%s", x.shape)
    logging.warning("%s", x.shape[0])
    logging.getLogger("shown").warning(f"{x.shape}")
    return x


def warned(x: jax.Array) -> jax.Array:
    if x.ndim == 2:
        warnings.warn(f"{x.shape}", stacklevel=1)
    return x


def traced_back(x: jax.Array) -> jax.Array:
    try:
        raise ValueError(x.shape[0])
    except ValueError:
        traceback.print_exc()
    return x


SHOWN: dict[str, Callable[[jax.Array], Any]] = {
    "printed": printed,
    "logged": logged,
    "object": Layer(),
    "warned": warned,
    "traced back": traced_back,
    "lambda": lambda x: [x, print(x.shape)][0],
}


@pytest.mark.parametrize("name", READ)
def test_what_may_be_read_is_a_doubt(name):
    assert record(READ[name], "n").doubts


@pytest.mark.parametrize("name", SHOWN)
def test_what_people_read_is_none(name, capsys):
    assert not record(SHOWN[name], "n").doubts


def test_a_warning_is_for_people():
    def fun(x: jax.Array) -> jax.Array:
        warnings.warn(f"{x.shape}", stacklevel=1)
        return x

    with pytest.warns(UserWarning):
        assert not record(fun, "n").doubts


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["method of another", "assigned", "printed elsewhere", "kept"])
def test_results_are_those_of_jit(name):
    fun = READ[name]
    f = sod2jax.optimize(fun, audit=False)
    for size in (12, 7, 5):
        x = np.ones(size, np.float32)
        np.testing.assert_array_equal(f(x), jax.jit(fun)(x))
