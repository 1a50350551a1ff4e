"""Sweeps: one question a file, named after it. `get_sweep()` returns the fields of launch/sweeps/plan.py's Sweep as a dict."""
