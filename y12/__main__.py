"""`python -m y12` is the command `y12`."""

import sys

from y12.cli import main

if __name__ == "__main__":
    sys.exit(main())
