"""Drop the whole loop into anyone's LangGraph graph, as one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.config import get_stream_writer

from orchestrator.memory.ids import derived
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.portal import run_sync

__all__ = ["reasoning_node"]


class _ReasoningNode(Runnable[Any, dict[str, Any]]):
    def __init__(self, pipeline: Pipeline, input: str, output: str) -> None:
        self._pipeline = pipeline
        self._input = input
        self._output = output

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        return run_sync(self.ainvoke(input, config))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        task = input[self._input] if isinstance(input, dict) else getattr(input, self._input)
        result = await self._pipeline.arun(task, run_id=_identity(config, self._output), listener=_stream_writer())
        if result.error is not None:
            raise result.error
        return {self._output: result.answer}


def reasoning_node(pipeline: Pipeline, *, input: str, output: str) -> Runnable[Any, dict[str, Any]]:
    """Return a node that reads the task from the state's key `input` and writes its answer to `output`.

    The answer is None if the run found none. It works under invoke and ainvoke. The run's identity is
    its place in that graph: entered again by a retry, or where the graph has a checkpointer after an
    interrupt or a crash, it goes on from the journal and repeats no finished engine call, while going
    back to an earlier checkpoint starts a run of its own. Decisions, kept steps and events of monitors are
    written to LangGraph's `custom` stream.

    Each door of the router may call LangGraph's `interrupt` once per step or draft; a second call is a
    UserError. It is answered by `Command(resume=answer)`, not by the interrupt's id, which LangGraph does
    not pass on to a graph without a checkpointer.

    Raises what `arun` raises, and the EngineError that failed the run: LangGraph's retry policy then applies.
    """
    return _ReasoningNode(pipeline, input, output)


def _identity(config: RunnableConfig | None, output: str) -> str | None:
    place = (config or {}).get("configurable", {})
    thread, namespace = place.get("thread_id"), place.get("checkpoint_ns")
    if not namespace:  # not inside a graph
        return None
    return derived(str(thread), str(namespace), output)


def _stream_writer() -> Callable[[Any], None] | None:
    try:
        return get_stream_writer()
    except RuntimeError:  # called by hand, outside any graph
        return None
