"""Pictures of how good a model is, by matplotlib, and the page that holds them."""
