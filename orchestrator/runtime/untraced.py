"""Keep LangSmith out of a run, whatever LANGSMITH_* and LANGCHAIN_* say: nothing is sent, nothing raises.

Only the context of the run is changed; the environment and every other run stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.utils.env import env_var_is_set

__all__ = ["untraced"]

_V1 = ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER")
"""Once switched on a tracer that LangChain no longer has: it raises where it finds one of them and no other tracer."""


class _Deaf(BaseCallbackHandler):
    """A tracer that traces nothing."""

    run_inline = True  # else each of its no-ops would go to a thread


@contextmanager
def untraced(*, is_allowed: bool) -> Iterator[None]:
    """Trace nothing inside; where tracing `is_allowed`, only keep LangChain from raising when none is set up."""
    from langchain_core.tracers.context import tracing_v2_callback_var
    from langsmith import tracing_context
    from langsmith.utils import tracing_is_enabled

    token: Any = None
    with nullcontext() if is_allowed else tracing_context(enabled=False):
        if any(map(env_var_is_set, _V1)) and not tracing_is_enabled() and tracing_v2_callback_var.get() is None:
            token = tracing_v2_callback_var.set(_Deaf())  # type: ignore[arg-type]
        try:
            yield
        finally:
            if token is not None:
                tracing_v2_callback_var.reset(token)
