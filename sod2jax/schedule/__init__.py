"""Static padded program to the versions of it that may be compiled."""

from sod2jax.schedule.edges import at_edges
from sod2jax.schedule.versions import Version, leaner, versions

__all__ = ["Version", "at_edges", "leaner", "versions"]
