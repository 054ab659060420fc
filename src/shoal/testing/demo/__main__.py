"""`python -m shoal.testing.demo`: see `command`."""

import sys

from shoal.testing.demo.command import main

if __name__ == "__main__":
    sys.exit(main())
