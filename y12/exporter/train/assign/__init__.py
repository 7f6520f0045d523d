"""Which anchor point learns which object."""
