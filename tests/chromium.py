"""A headless Chromium that tests drive through its own protocol, over a pipe: no driver, no package, no port."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from select import select
from time import monotonic
from typing import Any

__all__ = ["Chromium", "chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # as root in a container there is none to be had
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
_TROUBLE = ("Page.javascriptDialogOpening", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")


def chromium() -> str | None:
    """Return the path of a Chromium, None where the machine has none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Chromium:
    """One browser with one tab; what went wrong in the tab and what it asked the network for is kept."""

    def __init__(
        self, program: str, profile: Path, *, width: int = 1200, height: int = 900, limit_s: float = 60
    ) -> None:
        self.trouble: list[str] = []
        """Dialogs, errors and console lines since the last page was opened."""
        self.requests: list[str] = []
        """Addresses that were asked for since then, that of the page first."""
        self._limit_s, self._number, self._left, self._session = limit_s, 0, b"", ""
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (there, back)]  # none of them is 3 or 4 itself
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"],
            close_fds=False,
            preexec_fn=lambda: [os.dup2(end, number) for number, end in enumerate(ends, 3)],  # it reads 3 and writes 4
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (there, back, *ends):
            os.close(end)
        tab = next(each for each in self.ask("Target.getTargets")["targetInfos"] if each["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=tab["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Performance.enable", timeDomain="threadTicks")

    def open(self, address: str) -> None:
        """Open a page and wait until it has loaded."""
        self.ask("Page.navigate", url="about:blank")
        self._until("Page.loadEventFired")
        self.trouble.clear()
        self.requests.clear()
        self.ask("Page.navigate", url=address)
        self._until("Page.loadEventFired")

    def read(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        said = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def busy_s(self) -> float:
        """Return how long the page's thread has computed since its process began, and nothing else did."""
        metrics = self.ask("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))

    def press(self, key: str, code: str = "", text: str | None = None) -> None:
        """Press and release a key, such as `j`, or `Enter` with its text."""
        named = {"key": key, "code": code or key, "windowsVirtualKeyCode": 13 if key == "Enter" else ord(key.upper())}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=key if text is None else text, **named)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **named)

    def picture(self, path: Path, *, height: float = 0, dark: bool = False) -> None:
        """Write what is to be seen, or the page down to `height` pixels, as a PNG."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        more: dict[str, Any] = {}
        if height:
            width = self.read("innerWidth")
            self.ask(
                "Emulation.setDeviceMetricsOverride", width=width, height=int(height), deviceScaleFactor=1, mobile=False
            )
            self.read("scrollTo(0, 0), new Promise(requestAnimationFrame)")
            more["clip"] = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        path.write_bytes(b64decode(self.ask("Page.captureScreenshot", format="png", **more)["data"]))

    def ask(self, method: str, **options: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": options}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (heard := self._hear()).get("id") != self._number:
            self._keep(heard)
        assert "error" not in heard, f"{method}: {heard['error']}"
        result: dict[str, Any] = heard["result"]
        return result

    def close(self) -> None:
        """End the browser."""
        os.close(self._write)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _until(self, event: str) -> None:
        while (heard := self._hear()).get("method") != event:
            self._keep(heard)

    def _keep(self, heard: dict[str, Any]) -> None:
        method, said = heard.get("method", ""), heard.get("params", {})
        if method in _TROUBLE:
            self.trouble.append(f"{method}: {json.dumps(said)[:500]}")
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])

    def _hear(self) -> dict[str, Any]:
        end = monotonic() + self._limit_s
        while b"\0" not in self._left:
            readable, _, _ = select([self._read], [], [], max(end - monotonic(), 0))
            data = os.read(self._read, 1 << 20) if readable else b""
            if not data:
                raise TimeoutError(f"the browser said nothing for {self._limit_s:.0f} s, or is gone")
            self._left += data
        message, _, self._left = self._left.partition(b"\0")
        heard: dict[str, Any] = json.loads(message)
        return heard


if __name__ == "__main__":
    sys.exit(0 if chromium() else 3)
