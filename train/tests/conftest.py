"""Tests run from the folder that holds `train` and `workloads`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
