"""Function and specs to a symbolic program, with what the trace took for granted."""
