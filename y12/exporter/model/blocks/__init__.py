"""The blocks a model YAML can name, one family a file."""
