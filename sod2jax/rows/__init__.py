"""What one row of a result needs, and the primitive that runs a part of a program by rows."""
