"""`python -m tidemill.simulators.threads`."""

from __future__ import annotations

import sys

from tidemill.simulators.threads.command import main

sys.exit(main())
