"""A headless Chromium that tests drive by its DevTools protocol, over a pipe: no port, and no package for it."""

import base64
import fcntl
import json
import os
import select
import subprocess
import time
from pathlib import Path

# Nothing of it may ask the network for anything by itself, and it runs as root in containers.
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--remote-debugging-pipe"),
)
ATTACH = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
ANSWER_S = 120


class Chromium:
    """One browser with one page.

    Attributes:
        requests: the addresses that the page, or what it started, asked for since it was opened.
        console: what the page was warned of, such as a breach of its own policy.
        events: the names of what was told since.
    """

    def __init__(self, program, folder, *options):
        (ours_in, theirs_out), (theirs_in, ours_out) = os.pipe(), os.pipe()
        high_in, high_out = (fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (theirs_in, theirs_out))
        words = [program, *OPTIONS, f"--user-data-dir={folder}", *options, "about:blank"]
        # It reads commands from file 3 and writes to file 4.
        shell = f'exec "$@" 3<&{high_in} 4>&{high_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *words],
            pass_fds=(high_in, high_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for one in (theirs_in, theirs_out, high_in, high_out):
            os.close(one)
        self._in, self._out, self._rest, self._count = ours_in, ours_out, b"", 0
        self.requests, self.console, self.events, self._session = [], [], [], None
        (target,) = [
            one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page"
        ]  # about:blank
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")
        # Workers are targets of their own, and wait until what they ask for is told too.
        self.call("Target.setAutoAttach", **ATTACH)

    def close(self):
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method, session=None, **params):
        """Ask for something, and give what it answers."""
        number = self._send(method, params, session or self._session)
        while True:
            message = self._message(ANSWER_S)
            if message.get("id") == number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _send(self, method, params, session):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        os.write(self._out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        return self._count

    def _message(self, seconds):
        end = time.monotonic() + seconds
        while b"\0" not in self._rest:
            if not select.select([self._in], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"the browser said nothing within {seconds} s")
            piece = os.read(self._in, 1 << 20)
            if not piece:
                raise AssertionError("the browser ended")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def _note(self, message):
        params = message.get("params", {})
        self.events.append(message.get("method"))
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Log.entryAdded":
                self.console.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.console.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
            case "Runtime.exceptionThrown":
                self.console.append(params["exceptionDetails"].get("exception", {}).get("description", "an exception"))
            case "Target.attachedToTarget":
                session = params["sessionId"]
                self._send("Network.enable", {}, session)
                self._send("Target.setAutoAttach", ATTACH, session)
                self._send("Runtime.runIfWaitingForDebugger", {}, session)

    def open(self, url, width=1280, height=900):
        """Open a page, in a window of this size."""
        self.requests.clear()
        self.console.clear()
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=url)

    def evaluate(self, expression):
        """Give the value of an expression, awaited, as JSON has it."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        done = self.call("Runtime.evaluate", **asked)
        if "exceptionDetails" in done:
            raise AssertionError(done["exceptionDetails"].get("exception", {}).get("description", done))
        result = done["result"]
        return float(result["unserializableValue"]) if "unserializableValue" in result else result.get("value")

    def until(self, expression, seconds=90):
        """Wait until an expression is true; give its value."""
        end = time.monotonic() + seconds
        while True:
            try:
                value = self.evaluate(expression)
            except AssertionError as error:  # such as while another page is loaded
                value, expression_error = None, error
            else:
                expression_error = None
            if value:
                return value
            assert time.monotonic() < end, (expression, value, expression_error, self.console)
            time.sleep(0.05)

    def choose(self, selector, *files):
        """Choose files as a person does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(Path(file).resolve()) for file in files], nodeId=node)

    def press(self, key, code=None, number=0, text=None):
        """Press a key and let go of it."""
        named = {"key": key, "code": code or key, "windowsVirtualKeyCode": number}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def screenshot(self, path, whole=True):
        """Take a picture of the page."""
        done = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(done["data"]))
