"""Bringing a rig to rest, and the permission to energise it."""
