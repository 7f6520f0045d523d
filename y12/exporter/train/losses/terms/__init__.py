"""One equation of one paper each."""
