"""From images to ranges."""
