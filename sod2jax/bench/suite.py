"""What a suite is, and how suite and model files are loaded by path."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

Inputs = tuple[np.ndarray, ...]
MODELS = Path("models")
SUITES = Path("bench", "suites")


@dataclass(frozen=True)
class Suite:
    """A model and a stream of requests, with what padding by hand takes.

    Attributes:
      name: what to call it in tables.
      fun: ``fun(params, *inputs)``, written for exact shapes; accepts masks where `pad` adds them.
      params: pytree of weights on the device.
      requests: the inputs of each call, without `params`.
      shapes: specs of ``(params, *inputs)`` as `sod2jax.optimize` takes them.
      constraints: constraints on the symbols of `shapes`.
      maximum: largest size of every varying dimension.
      dims: inputs -> true size of every varying dimension.
      pad: (inputs, padded sizes) -> inputs with masks, as one pads by hand; None where the model
        would have to be rewritten for that.
      trim: (output, true sizes) -> output on the host without its padding; None with `pad`.
    """

    name: str
    fun: Callable[..., Any] = field(repr=False)
    params: Any = field(repr=False)
    requests: Sequence[Inputs] = field(repr=False)
    shapes: tuple[str | None, ...]
    constraints: tuple[str, ...]
    maximum: Mapping[str, int]
    dims: Callable[[Inputs], dict[str, int]] = field(repr=False)
    pad: Callable[[Inputs, Mapping[str, int]], Inputs] | None = field(default=None, repr=False)
    trim: Callable[[Any, Mapping[str, int]], Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SuiteFile:
    """What a file in ``bench/suites`` defines under the name ``SUITE``.

    Attributes:
      about: one line on the model and its requests.
      sizes: accepted ``--size`` values.
      default_size: size of a plain run.
      quick_size: size of a ``--quick`` run.
      takes_weights: whether ``--weights`` means something here.
      build: ``build(size, batch=, requests=, seed=, weights=)`` -> Suite.
      pads_by_hand: whether suites have `pad` and `trim`; without them the methods that pad by
        hand do not run.
    """

    about: str
    sizes: tuple[str, ...]
    default_size: str
    quick_size: str
    takes_weights: bool
    build: Callable[..., Suite] = field(repr=False)
    pads_by_hand: bool = True


def find_suites() -> dict[str, Path]:
    """Names of the suites of the current folder, and their files; none without its models."""
    files = sorted(SUITES.glob("*.py")) if MODELS.is_dir() else []
    return {path.stem: path.resolve() for path in files}


def load_file(path: Path) -> ModuleType:
    """Imports one Python file by path, under a name that nothing else has."""
    return _load(f"_sod2jax_bench_{path.stem}", path, package=False)


def load_package(folder: Path) -> ModuleType:
    """Imports a package by path, under its own name so that its files can import each other.

    Raises:
      ImportError: another package of that name is loaded already.
    """
    init = folder.resolve() / "__init__.py"
    loaded = sys.modules.get(folder.name)
    if loaded is None:
        return _load(folder.name, init, package=True)
    if loaded.__file__ is None or Path(loaded.__file__).resolve() != init:
        raise ImportError(f"cannot load {folder}: a package {folder.name!r} is loaded already")
    return loaded


def _load(name: str, path: Path, *, package: bool) -> ModuleType:
    locations = [str(path.parent)] if package else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=locations)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def pad_tokens(inputs: Inputs, length: int, pad_token: int) -> Inputs:
    """Pads token ids to a length and says with a mask which are real.

    Args:
      inputs: ``(ids[b, n],)`` or ``(ids[b, n], mask[b, n])``, integers.
      length: padded length, at least n.
      pad_token: the id to pad with.

    Returns:
      ``(ids[b, length], mask[b, length])``; the mask is 1 for real tokens, 0 for padding.
    """
    ids = inputs[0]
    mask = inputs[1] if len(inputs) > 1 else np.ones(ids.shape, np.int32)
    width = ((0, 0), (0, length - ids.shape[1]))
    return np.pad(ids, width, constant_values=pad_token), np.pad(mask, width)


def trim_tokens(output: Any, dims: Mapping[str, int]) -> np.ndarray:
    """Cuts ``output[b, s, d]`` to its true length on the host: a view, and nothing to compile."""
    return np.asarray(output)[:, : dims["s"]]
