"""Checkpoint files as a mapping from tensor names to NumPy arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_SUFFIXES = (".safetensors", ".bin", ".pt")
_USUAL_NAMES = ("model.safetensors", "pytorch_model.bin")


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
