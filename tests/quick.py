"""What XLA may leave out where compiling costs more than it saves; it changes only rounding."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

FLAGS: dict[str, Any] = {"xla_cpu_parallel_codegen_split_count": 1}
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    FLAGS["xla_cpu_use_fusion_emitters"] = False  # later versions have no others

# As `compiler_options` of `jax.jit`.
QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    **FLAGS,
}
