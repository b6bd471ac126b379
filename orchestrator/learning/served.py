"""The file of a router whose prediction is a served classifier's: no numbers of its own, but all that it is for.

The classifier answers with a probability, and the file takes it as it is: balancing its training set has moved it
towards one half, so a threshold is chosen with `orchestrator calibrate` and not read off.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.engines.scorers import ESCALATION, PLAIN
from orchestrator.routers.features import SIGNAL
from orchestrator.routers.forecast import Forecast, Served
from orchestrator.routers.router_file import RouterFile

__all__ = ["served"]


def served(first: Mapping[str, Any], measured: Mapping[str, Any], data: Mapping[str, Any]) -> RouterFile:
    """Return the router of a classifier that was trained on a data set with this `first` line.

    `measured` are its figures on tasks that `data["fitted_on"]` does not name.
    """
    return RouterFile(
        features=(SIGNAL + (ESCALATION if first["history"] else PLAIN),),
        forecast=Forecast(shape=Served()),
        logprobs=0,
        scorer=first["scorer"],
        samples=first["samples"],
        pair=first["pair"],
        measured=measured,
        data=data,
        made=datetime.now(UTC).date().isoformat(),
        package=first["package"],
    )
