"""Executables of buckets, and how calls run in them."""
