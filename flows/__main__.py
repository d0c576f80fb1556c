"""``python -m flows`` is ``flashlips``."""

import sys

from flows.cli import main

sys.exit(main())
