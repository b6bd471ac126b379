from typing import Any

__all__ = ["ChoiceProbe"]


class ChoiceProbe:
    def __init__(self, **k: Any) -> None: ...
    async def ask(self, *a: Any) -> Any: ...
