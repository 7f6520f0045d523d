"""The stages of an export that take more than one call: each a function of its own options, values in, values out."""
