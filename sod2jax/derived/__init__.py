"""Derivatives and batches of an optimized function, outside of programs: optimized, too."""
