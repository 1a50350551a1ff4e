"""Many runs that answer one question, from a file in configs/sweeps/ to a table with intervals."""
