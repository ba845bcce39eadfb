"""The picture of a plan has a rectangle where each temporary lies."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from sod2jax.memory import plan_memory
from sod2jax.target import Target


def test_every_temporary_has_its_rectangle(tmp_path: Path) -> None:
    jaxpr = jax.make_jaxpr(lambda x: jnp.sort(jnp.sort(x @ x, 0) @ x, 1).sum())(np.ones((64, 64)))
    plan = plan_memory(jaxpr, bucket={"n": 64}, target=Target("cpu"))
    axes = plan.plot()
    seen = {(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in axes.patches}
    assert seen == {(a.first, a.offset, a.last - a.first + 1, a.size) for a in plan.allocations}
    assert len(seen) > 1 and "n=64" in axes.get_title()
    axes.figure.savefig(tmp_path / "plan.png")
    assert (tmp_path / "plan.png").stat().st_size > 1000


def test_a_plan_without_temporaries_is_drawn_empty() -> None:
    jaxpr = jax.make_jaxpr(lambda x: x + 1)(np.ones(4))
    assert not plan_memory(jaxpr, bucket={}, target=Target("cpu")).plot().patches
