"""An agent that asks a shop for prices: the small engine works, and where it is stuck the large one takes a turn."""

import orchestrator as orc
from orchestrator.engines.pocket import pocket_pair

PRICES = {"lamp": 30, "pen": 12, "cup": 7}


@orc.tools.tool
def lookup(item: str) -> str:
    """Say what an item costs."""
    raise orc.errors.BadCall("busy")  # what a tool raises is what the engine reads


@orc.tools.tool(idempotent=True)
def list() -> str:
    """Name everything there is, with its price."""
    return ", ".join(f"{item} {price}" for item, price in PRICES.items())


pipeline = orc.Pipeline(
    pocket_pair(temperature=0.0),
    router=orc.routers.Cascade(turns=1),
    monitors=[orc.monitors.Stuck(repeats=2)],
    tools=[orc.tools.make("calculator", name="calc"), lookup, list],
    mode="no_think",
    budget=orc.Budget(steps=24),
)
