"""Devices: the mesh, and which axis of an array lies along which axis of it."""
