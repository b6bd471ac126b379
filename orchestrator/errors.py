"""Every error the orchestrator raises, split by who must act.

OrchestratorError
├── UserError              mend the command, the pipeline or the config   -> exit 2
│   ├── UnknownName        the message lists what would have worked
│   ├── BadConfig          names the key and the file
│   ├── BadTask            names the line or the task
│   ├── MissingCapability  the pipeline needs what an engine cannot do
│   ├── ResumeRefused      a stored run was made with other settings
│   ├── RunTaken           another process executes the run: wait for it
│   ├── HandbookMoved      another process changed the handbook meanwhile: look again
│   └── PartFailed         code of the pipeline's own raised: its run ends as failed
├── EngineError            an engine or its machine failed                -> exit 3
│   ├── EngineUnavailable  nothing answered, or it answered "not now"
│   ├── EngineTimeout      carries the limit and the time waited, seconds
│   ├── EngineRejected     the server refused this request
│   │   └── ContextExceeded  the prompt does not fit the engine's context
│   └── EngineProtocol     the reply could not be understood
├── ModelMisbehaved        what an engine wrote broke the contract: the run goes on, the engine is told
│   └── BadCall            a call of a tool that cannot be made
├── SignalUnavailable      a value that was asked for cannot be had; carries the reason
├── LimitExceeded          a budget ran out: a normal ending              -> exit 4
└── StoreError             the database cannot be read or written         -> exit 2
    ├── StoreLocked        another process holds it
    ├── StoreReadOnly      it may not be written
    ├── StoreCorrupt       it is damaged, or no database of ours
    └── StoreNewer         a newer version of this program wrote it
"""

from __future__ import annotations

__all__ = [
    "BadCall",
    "BadConfig",
    "BadTask",
    "ContextExceeded",
    "EngineError",
    "EngineProtocol",
    "EngineRejected",
    "EngineTimeout",
    "EngineUnavailable",
    "HandbookMoved",
    "LimitExceeded",
    "MissingCapability",
    "ModelMisbehaved",
    "OrchestratorError",
    "PartFailed",
    "ResumeRefused",
    "RunTaken",
    "SignalUnavailable",
    "StoreCorrupt",
    "StoreError",
    "StoreLocked",
    "StoreNewer",
    "StoreReadOnly",
    "UnknownName",
    "UserError",
]


class OrchestratorError(Exception):
    """The root of every error this package raises on purpose."""


class UserError(OrchestratorError):
    """What was asked for cannot be done as it was asked."""


class UnknownName(UserError):
    """No router, engine, option or key has this name."""


class BadConfig(UserError):
    """A configuration value or file is wrong."""


class BadTask(UserError):
    """A task has no prompt, or its line cannot be read."""


class MissingCapability(UserError):
    """A pipeline needs something that one of its engines cannot do."""


class ResumeRefused(UserError):
    """A stored run cannot be continued under the settings given now."""


class RunTaken(UserError):
    """A run is being executed elsewhere, by another process or another journal of this one."""


class HandbookMoved(UserError):
    """What was to be done to a handbook was worked out before somebody else changed it."""


class PartFailed(UserError):
    """A monitor, a mode's policy or `approve` raised something of its own, which is the cause."""


class EngineError(OrchestratorError):
    """An engine or the machine under it failed.

    `engine` is the engine's name. `output_tokens` counts the tokens that had
    arrived before the failure: a lower bound, because the server may have made more.
    `was_retried` says that a helper call was tried often enough by itself.
    """

    def __init__(self, message: str, *, engine: str, output_tokens: int = 0) -> None:
        super().__init__(message)
        self.engine = engine
        self.output_tokens = output_tokens
        self.was_retried = False


class EngineUnavailable(EngineError):
    """Nothing answered at the engine's address, the connection broke, or the server is overloaded.

    `retry_after_s` is the server's own wish in seconds, or None. `was_sent` is False if the
    request never left: nothing can have been used.
    """

    def __init__(
        self,
        message: str,
        *,
        engine: str,
        output_tokens: int = 0,
        retry_after_s: float | None = None,
        was_sent: bool = True,
    ) -> None:
        super().__init__(message, engine=engine, output_tokens=output_tokens)
        self.retry_after_s = retry_after_s
        self.was_sent = was_sent


class EngineTimeout(EngineError):
    """The engine took longer than the limit."""

    def __init__(self, message: str, *, engine: str, limit_s: float, elapsed_s: float, output_tokens: int = 0) -> None:
        super().__init__(message, engine=engine, output_tokens=output_tokens)
        self.limit_s = limit_s
        self.elapsed_s = elapsed_s


class EngineRejected(EngineError):
    """The server understood the request and refused it."""


class ContextExceeded(EngineRejected):
    """The prompt is longer than the engine's context window, both in tokens."""

    def __init__(self, message: str, *, engine: str, prompt_tokens: int, context: int) -> None:
        super().__init__(message, engine=engine)
        self.prompt_tokens = prompt_tokens
        self.context = context

    @classmethod
    def of(cls, engine: str, prompt_tokens: int, context: int, *, answered: str = "") -> ContextExceeded:
        """Return the error in its one wording; `answered` quotes the server where it was the one to refuse.

        A number is 0 where the server did not give it.
        """
        if prompt_tokens and context:
            what = f"the prompt has {prompt_tokens} tokens and engine {engine!r} a context of {context}"
        else:
            what = f"the prompt is longer than the context of engine {engine!r}"
        mend = "shorten the prompt or serve the model with a longer context"
        message = f"{what}: {mend}" + (f" ({answered})" if answered else "")
        return cls(message, engine=engine, prompt_tokens=prompt_tokens, context=context)


class EngineProtocol(EngineError):
    """The server's reply is not what its interface promises."""


class ModelMisbehaved(OrchestratorError):
    """What an engine wrote is not what it was asked for. The text is written for the engine to read."""


class BadCall(ModelMisbehaved):
    """A call names no tool there is, or its arguments are not the tool's."""


class SignalUnavailable(OrchestratorError):
    """A signal was asked for and there is no honest value for it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"signal {name!r} is unavailable: {reason}")
        self.name = name
        self.reason = reason


class LimitExceeded(OrchestratorError):
    """A budget has run out.

    `kind` names the budget ("tokens", "seconds", "small.tokens", ...), `value` is what
    was spent or would have been, `limit` is what was allowed; both in the budget's unit.
    """

    def __init__(self, kind: str, value: float, limit: float) -> None:
        super().__init__(f"budget {kind!r} is used up: {value:g} of {limit:g}")
        self.kind = kind
        self.value = value
        self.limit = limit


class StoreError(OrchestratorError):
    """The database could not be read or written."""


class StoreLocked(StoreError):
    """Another process held the database for longer than we wait."""


class StoreReadOnly(StoreError):
    """The database or its folder may not be written."""


class StoreCorrupt(StoreError):
    """The file is damaged or is not one of our databases; it was left untouched."""

    why = ""
    """What is damaged in one of ours."""


class StoreNewer(StoreError):
    """A newer version of this program wrote the database; it was left untouched."""
