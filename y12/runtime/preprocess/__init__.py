"""From a user's image to the network's input."""
