"""Verification that an artefact computes what the model does."""
