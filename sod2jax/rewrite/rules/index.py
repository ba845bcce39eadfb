"""Indexed reads and writes: gather, scatter, dynamic slices."""
