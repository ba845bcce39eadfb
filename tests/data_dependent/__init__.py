"""Programs whose sizes depend on values, as people write them, beside plain NumPy's versions."""

from __future__ import annotations

from tests.data_dependent import geometry, layers, tables
from tests.data_dependent.base import Program as Program
from tests.data_dependent.base import check as check

PROGRAMS = {p.name: p for p in [*layers.PROGRAMS, *geometry.PROGRAMS, *tables.PROGRAMS]}
