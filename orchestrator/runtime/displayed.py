"""What a notebook or a terminal shows of a value: one text, drawn as wide as there is room.

Rich prints it (`rich.print`, `rich.pretty.install()`), IPython and Jupyter show it by themselves. As HTML it is one
`<pre>` with colours of its own: every letter is escaped, and nothing is fetched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

__all__ = ["Displayed"]

_COLUMNS = 100
"""Of a notebook's cell, which does not say how wide it is."""
_FIRST, _LAST = 80, 40
"""Lines that are shown of a text that has more."""
_PRE = '<pre style="line-height: 1.25; white-space: pre; overflow-x: auto">{code}</pre>'


class Displayed(ABC):
    """Something that is shown as one text, of at most 121 lines."""

    @abstractmethod
    def drawn(self, width: int) -> Text:
        """Return the whole text, made harmless, in lines of at most `width` characters where that is enough."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield self._cut(options.max_width)

    def _repr_html_(self) -> str:
        return _html(self._cut(_COLUMNS))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        shown = self._cut(_COLUMNS)
        return {"text/plain": shown.plain, "text/html": _html(shown)}

    def _cut(self, width: int) -> Text:
        """Return the text, or the first and the last lines of a long one, and how many lie between."""
        text = self.drawn(width)
        lines = list(text.split("\n"))
        if len(lines) <= _FIRST + 1 + _LAST:
            return text
        told = ": show() prints all" if hasattr(self, "show") else ""
        lines[_FIRST:-_LAST] = [text.blank_copy(f"… {len(lines) - _FIRST - _LAST} more lines{told}")]
        return text.blank_copy("\n").join(lines)


def _html(text: Text) -> str:
    from rich.console import Console

    console = Console(record=True, file=StringIO(), width=_COLUMNS, highlight=False)
    console.print(text, soft_wrap=True)
    return console.export_html(inline_styles=True, code_format=_PRE)
