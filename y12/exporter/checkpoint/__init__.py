"""Strangers' weights, read and never run."""
