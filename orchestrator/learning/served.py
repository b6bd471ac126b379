"""The file of a router whose prediction is a served classifier's: no numbers of its own, but all that it is for.

The classifier answers with a probability that the balance of its training set has moved towards one half; a slope and
an intercept of its log-odds, fitted on the validation tasks, move it back.

Source: Arbitrage, arXiv:2512.05033, for the classifier. Differs: the calibration (there none).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.engines.scorers import ESCALATION, PLAIN
from orchestrator.routers.features import SIGNAL
from orchestrator.routers.forecast import Forecast, Served
from orchestrator.routers.router_file import RouterFile

__all__ = ["log_odds", "served"]


def log_odds(chances: Sequence[float]) -> NDArray[np.float64]:
    """Return the classifier's probabilities as the score that is calibrated, one entry each."""
    shape = Served()
    return np.array([shape.score([chance]) for chance in chances])


def served(
    first: Mapping[str, Any], forecast: Forecast, measured: Mapping[str, Any], data: Mapping[str, Any]
) -> RouterFile:
    """Return the router of a classifier that was trained on a data set with this `first` line.

    `forecast` has the shape Served. `measured` are its figures on tasks that `data["fitted_on"]` does not name.
    """
    return RouterFile(
        features=(SIGNAL + (ESCALATION if first["history"] else PLAIN),),
        forecast=forecast,
        logprobs=0,
        scorer=first["scorer"],
        samples=first["samples"],
        pair=first["pair"],
        measured=measured,
        data=data,
        made=datetime.now(UTC).date().isoformat(),
        package=first["package"],
    )
