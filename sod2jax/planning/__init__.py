"""From a call to its plan: regime, program, bucket."""
