"""The vendors that execute a network, each met in one place."""
