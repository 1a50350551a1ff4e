"""Evaluation: scores with confidence intervals."""
