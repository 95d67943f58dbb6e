"""`python -m temporalmesh`."""

import sys

from temporalmesh import main

sys.exit(main())
