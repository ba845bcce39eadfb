"""Checkpoint files as a mapping from tensor names to NumPy arrays, and as parameter trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

_SUFFIXES = (".safetensors", ".bin", ".pt")
_USUAL_NAMES = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
)


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a .safetensors file, or a torch .bin or .pt file, or the one in a directory.

    Floating-point tensors come as float32.

    Raises:
      FileNotFoundError: if there is no such file, or no checkpoint in the directory.
      ValueError: if the kind of file is not known, if a directory leaves open which of several
        files is meant, or if a torch file holds anything but a flat mapping of tensors.
      ImportError: if the package that reads this kind of file is not installed.
    """
    file = _checkpoint_file(Path(path))
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    return _read_torch(file)


def fit(
    tensors: Mapping[str, np.ndarray], shapes: Any, torch_name: Callable[[tuple[str, ...]], str]
) -> Any:
    """Arranges torch's tensors as a tree of flax parameters.

    A flax kernel is torch's weight with its first two axes, outputs and inputs, moved to the end
    and swapped: that holds for Linear and for every Conv. All else has one layout.

    Args:
      tensors: by torch's names; all of them are used.
      shapes: the tree, nested dictionaries of `jax.ShapeDtypeStruct`.
      torch_name: from the keys above a leaf to the name of its tensor.

    Returns:
      The tree, of float32 arrays.

    Raises:
      ValueError: naming every tensor that is missing, of another shape, or not in the tree.
    """
    leaves: dict[Any, Any] = traverse_util.flatten_dict(shapes)
    names = {path: torch_name(path) for path in leaves}

    problems = [f"missing: {name}" for name in names.values() if name not in tensors]
    problems += [f"not in the configuration: {name}" for name in tensors.keys() - names.values()]
    for path, leaf in leaves.items():
        expected = _torch_shape(path, leaf.shape)
        found = tensors.get(names[path])
        if found is not None and found.shape != expected:
            problems.append(f"{names[path]}: expected shape {expected}, found {found.shape}")
    if problems:
        raise ValueError("the checkpoint does not fit:\n  " + "\n  ".join(sorted(problems)))

    params = {path: _from_torch(tensors[name], path) for path, name in names.items()}
    return traverse_util.unflatten_dict(params)


def torch_kind(path: tuple[str, ...]) -> str:
    """What torch calls the leaf: "bias", or "weight" for flax's kernel, scale and embedding."""
    return "bias" if path[-1] == "bias" else "weight"


def _torch_shape(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-3:-1], *shape[:-2]) if path[-1] == "kernel" else shape


def _from_torch(tensor: np.ndarray, path: tuple[str, ...]) -> jax.Array:
    layout = np.moveaxis(tensor, (0, 1), (-1, -2)) if path[-1] == "kernel" else tensor
    return jnp.asarray(layout, jnp.float32)


def _checkpoint_file(path: Path) -> Path:
    if path.is_dir():
        return _only_checkpoint(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"{path}: expected a file ending in {', '.join(_SUFFIXES)}")
    return path


def _only_checkpoint(folder: Path) -> Path:
    for name in _USUAL_NAMES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES)
    if not found:
        raise FileNotFoundError(f"no checkpoint ({', '.join(_SUFFIXES)}) in {folder}")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"{folder} holds several checkpoints, name one of them: {names}")
    return found[0]


def _read_safetensors(file: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(f"reading {file} needs: pip install safetensors") from error
    return {name: _as_float32(tensor) for name, tensor in load_file(file).items()}


def _read_torch(file: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"reading {file} needs: pip install torch (a .safetensors file does not)"
        ) from error
    state = torch.load(file, map_location="cpu", weights_only=True)
    flat = isinstance(state, dict) and all(isinstance(t, torch.Tensor) for t in state.values())
    if not flat:
        raise ValueError(f"{file}: expected a flat mapping from names to tensors")
    # NumPy has no bfloat16, so the widening is left to torch.
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        for name, tensor in state.items()
    }


def _as_float32(tensor: np.ndarray) -> np.ndarray:
    if tensor.dtype.kind in "biu":
        return tensor
    return tensor.astype(np.float32, copy=False)
