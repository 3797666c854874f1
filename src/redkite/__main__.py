"""`python -m redkite` is the `redkite` command."""

import sys

from redkite.cli import main

if __name__ == "__main__":
    sys.exit(main())
