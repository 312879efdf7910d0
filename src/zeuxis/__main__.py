"""``python -m zeuxis`` is the ``zeuxis`` command."""

import sys

from zeuxis.cli import main

sys.exit(main())
