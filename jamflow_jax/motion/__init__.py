"""Facial motion: spaces and their statistics, converters, exact resampling, landmark alignment, LivePortrait templates."""
