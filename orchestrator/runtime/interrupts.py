"""Let a router's doors ask people through LangGraph's `interrupt`, so that each question gets its own answer.

LangGraph tells the answers a node was given apart by the order of its questions, and takes it for
granted that a node which is entered again asks them all again. Ours does not: what a door decided
is in the journal. So every door counts its questions for itself and takes only the answer that the
graph has just been resumed with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import replace
from itertools import count
from typing import Any

from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config
from langgraph.errors import GraphInterrupt

from orchestrator.errors import UserError

__all__ = ["can_interrupt", "door", "outside_graph"]

# LangGraph has no public names for these. A run outside a graph has neither.
_SCRATCHPAD = "__pregel_scratchpad"
_SEND = "__pregel_send"
_CHECKPOINTER = "__pregel_checkpointer"


@contextmanager
def door(policy: str) -> Iterator[list[Any]]:
    """Call a door of `policy` inside; the list holds what it was answered.

    Raises UserError if it asks a second time: the first answer would be gone when the second one comes.
    """
    config: RunnableConfig = var_child_runnable_config.get() or {}
    given = config.get("configurable", {})
    scratchpad: Any = given.get(_SCRATCHPAD)
    if scratchpad is None:
        yield []
        return
    own = replace(scratchpad, resume=[], interrupt_counter=count().__next__)
    # An answer that was sent on would be kept with the node, for whatever asks first when that is entered again.
    alone = {**given, _SCRATCHPAD: own, _SEND: lambda writes: None}
    token = var_child_runnable_config.set({**config, "configurable": alone})
    try:
        yield own.resume
    except GraphInterrupt:
        if own.resume:
            raise UserError(
                f"{policy} interrupts twice to decide one thing: ask everything with one interrupt()"
            ) from None
        raise
    finally:
        var_child_runnable_config.reset(token)


def can_interrupt() -> bool:
    """Say whether there is a graph around whose checkpointer keeps a question until somebody answers it."""
    config: RunnableConfig = var_child_runnable_config.get() or {}
    return bool(config.get("configurable", {}).get(_CHECKPOINTER))


def outside_graph() -> Context:
    """Return a copy of the context in which no graph is: nobody can be asked there."""
    context = copy_context()
    context.run(var_child_runnable_config.set, None)
    return context
