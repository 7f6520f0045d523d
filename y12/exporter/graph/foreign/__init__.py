"""Graphs that another exporter wrote: read, brought to one form, and their attention rewritten so that it fuses."""
