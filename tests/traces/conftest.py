"""How the tests of traces find the pipelines of the runtime's tests: test files are no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "runtime"))
