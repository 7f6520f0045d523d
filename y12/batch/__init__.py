"""Images too many for one process: parts of a long list, done by workers on Ray, each part a file that is whole."""
