"""Drawn scenes of shapes, labelled by how they were drawn."""
