"""`python -m tmt`."""

import sys

from temporalmesh import main

sys.exit(main())
