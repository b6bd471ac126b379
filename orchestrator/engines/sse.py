"""Server-sent events: bytes in, the data of whole events out.

Chunks may end anywhere, also between the two bytes of a line end. Comments and fields other than
`data` and `error` are skipped; several data lines of one event are joined by a newline.
"""

from __future__ import annotations

__all__ = ["EventDecoder"]


class EventDecoder:
    """Collects the chunks of one stream."""

    def __init__(self) -> None:
        self._pending = b""
        self._data: list[bytes] = []

    @property
    def held(self) -> int:
        """Bytes held back because their event is not complete yet."""
        return len(self._pending) + sum(map(len, self._data))

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of every event that `chunk` completes, in order."""
        if not self._pending and not self._data and (whole := _plain(chunk)) is not None:
            return whole
        lines = (self._pending + chunk).splitlines(keepends=True)
        # A line that ends in a lone "\r" may be half of "\r\n": it waits for the next chunk.
        self._pending = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        return [event for line in lines if (event := self._line(line.rstrip(b"\r\n"))) is not None]

    def finish(self) -> list[bytes]:
        """Return the data of an event that only lacks its closing blank line; a cut line is dropped."""
        line, self._pending = self._pending, b""
        if line.endswith(b"\r"):
            self._line(line[:-1])
        event = self._line(b"")
        return [] if event is None else [event]

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            event = b"\n".join(self._data) if self._data else None
            self._data.clear()
            return event
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"error":  # some llama.cpp servers report a failure in mid-stream this way
            self._data.append(b'{"error":' + value + b"}")
        return None


def _plain(chunk: bytes) -> list[bytes] | None:
    """Return the data of a chunk of whole one-line events, the way servers nearly always send them; else None."""
    if b"\r" in chunk or not chunk.endswith(b"\n\n"):
        return None
    events = chunk[:-2].split(b"\n\n")
    if not all(event.startswith(b"data: ") and b"\n" not in event for event in events):
        return None
    return [event[6:] for event in events]
