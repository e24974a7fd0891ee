"""A headless Chromium that a test looks at a page with, spoken to over its DevTools protocol on two pipes.

No driver, no port, no package: commands and events are JSON with a NUL behind each.
Source: Chromium's --remote-debugging-pipe; https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from pools.net.clock import monotonic_s
from tests.scenarios.harness.programs import LIMIT_S, require

# Root has no sandbox, CI has no graphics card, and a browser that is being watched shall say nothing to anybody else.
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--password-store=basic",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_PATIENCE_S: Final = 2 * LIMIT_S  # to begin with, 300 MB of program are read
_LOOK_S: Final = 0.05
_DOMAINS: Final = ("Page", "Runtime", "Log", "Network")


class Browser:
    """One browser with one tab.

    Args:
        directory: for its profile; must exist.

    Attributes:
        complaints: what the page's console said in anger: errors, warnings, refusals of its policy, exceptions.
        requests: the address of each that the page made.
    """

    def __init__(self, directory: Path) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._events: list[str] = []
        self._commands = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._held = b""
        program = require("chromium")
        hears, self._writes = os.pipe()
        self._reads, says = os.pipe()
        # It hears commands on descriptor 3 and answers on 4.
        descriptors = f'exec "$@" 3<&{hears} 4>&{says}'
        self._process = subprocess.Popen(
            ["bash", "-c", descriptors, "bash", program, *_FLAGS, f"--user-data-dir={directory}/profile"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(hears, says),
            start_new_session=True,
            env=os.environ | {"HOME": str(directory)},
        )
        os.close(hears)
        os.close(says)
        self._session = ""

    def start(self) -> None:
        """Return once it has a tab and tells what goes on there."""
        target = self._command("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in _DOMAINS:
            self._command(f"{domain}.enable")

    def view(self, width: int, height: int, *, dark: bool = False) -> None:
        """Make the window so large, in CSS pixels, and prefer a colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._command("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Go to a page, forget what the one before asked for and complained of, and return once it is loaded."""
        self._go("about:blank")
        self.requests.clear()
        self.complaints.clear()
        self._go(url)

    def _go(self, url: str) -> None:
        self._events.clear()
        error = self._command("Page.navigate", url=url).get("errorText")
        assert not error, f"{url}: {error}"
        self._until(lambda: "Page.loadEventFired" in self._events, expected=f"{url} is loaded")

    def evaluate(self, expression: str) -> Any:
        """Give the value of an expression of JavaScript in the page; a promise is waited for."""
        told = self._command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, f"{expression}: {told['exceptionDetails']}"
        return told["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Return once an expression is true."""
        self._until(lambda: bool(self.evaluate(expression)), expected=expression)

    def text(self, selector: str) -> str:
        """Give the text of the first element that a selector finds, as a reader sees it."""
        found = self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
        assert isinstance(found, str)
        return found

    def screenshot(self, *, whole: bool = True) -> bytes:
        """Give a PNG of the page, of all of it or of what the window shows."""
        return base64.b64decode(self._command("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def close(self) -> None:
        """End it, and all its processes."""
        with suppress(AssertionError, OSError):
            self._session = ""
            self._command("Browser.close")
        for descriptor in (self._writes, self._reads):
            os.close(descriptor)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LIMIT_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _command(self, method: str, **params: Any) -> dict[str, Any]:
        self._commands += 1
        number = self._commands
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        self._until(lambda: number in self._answers, expected=f"{method} is answered")
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _until(self, fact: Callable[[], bool], *, expected: str) -> None:
        until_s = monotonic_s() + _PATIENCE_S
        while not fact():
            assert monotonic_s() < until_s, f"expected in {_PATIENCE_S:g} s that {expected}; found {self.complaints}"
            if select.select([self._reads], [], [], _LOOK_S)[0]:
                self._hear()

    def _hear(self) -> None:
        data = os.read(self._reads, 1 << 20)
        assert data, f"the browser ended with {self._process.poll()}"
        *messages, self._held = (self._held + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._events.append(message["method"])
                self._note(message["method"], message["params"])

    def _note(self, event: str, params: dict[str, Any]) -> None:
        match event:
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.complaints.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(json.dumps(params["entry"]))


@contextmanager
def browsing(directory: Path) -> Iterator[Browser]:
    """Run a browser for as long as the block lasts."""
    browser = Browser(directory)
    try:
        browser.start()
        yield browser
    finally:
        browser.close()
