"""JAM-Flow in JAX: one flow-matching transformer that generates speech and facial motion together."""
