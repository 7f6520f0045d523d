"""Files that a bundle for Triton holds as they are."""
