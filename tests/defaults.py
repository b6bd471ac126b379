"""Options as they are where nobody gives them, and where people are told so."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"


def check(policy: type[Any], options: dict[str, Any], said: str) -> None:
    """See that a policy has these options by default, and that the README or its module says so."""
    parameters = inspect.signature(policy).parameters
    assert {name: parameters[name].default for name in options} == options
    told = README.read_text() + inspect.getsource(sys.modules[policy.__module__])
    assert " ".join(said.split()) in " ".join(told.split())
