"""What an export made and what was proved of it: as JSON, as lines for the terminal, as a page to look at."""
