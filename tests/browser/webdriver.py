"""A small WebDriver client on the standard library: just what the browser test needs.

Every wait is on a condition with a deadline, and says what it waited for when it gives up.
"""

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Failure(Exception):
    """Something the page should have shown or done, in one sentence."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, condition, seconds=20):
    """Polls until the condition gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    last = ""
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
        except (OSError, WebDriverError) as error:
            last = f" (last: {error})"
        time.sleep(0.05)
    raise Failure(f"waited {seconds} s in vain for {what}{last}")


class WebDriverError(Exception):
    pass


class Browser:
    def __init__(self, width=1280, height=900, dark=False):
        driver = shutil.which("chromedriver")
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if not driver or not chromium:
            raise Failure("chromium and chromedriver are needed: apt-get install -y chromium chromium-driver")
        self.profile = tempfile.mkdtemp(prefix="autodidact-browser-")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.session = None
        try:
            wait_until("chromedriver to be ready", lambda: self.call("GET", "/status")["ready"])
            arguments = [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
                f"--user-data-dir={self.profile}", f"--window-size={width},{height}",
            ] + (["--force-dark-mode", "--enable-features=WebContentsForceDark:inversion_method/none"] if dark else [])
            options = {"binary": chromium, "args": arguments, "perfLoggingPrefs": {"enableNetwork": True, "enablePage": False}}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
            answer = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self.session = f"/session/{answer['sessionId']}"
        except BaseException:
            self.close()
            raise

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error).get("value") or {}
            raise WebDriverError(value.get("message", str(error)).split("\n")[0]) from None

    def command(self, method, path, body=None):
        return self.call(method, self.session + path, body)

    def devtools(self, name, **params):
        return self.command("POST", "/goog/cdp/execute", {"cmd": name, "params": params})

    def open(self, url):
        self.command("POST", "/url", {"url": url})

    def find(self, selector, seconds=20):
        """The first visible element that matches the CSS selector."""
        def look():
            for found in self.command("POST", "/elements", {"using": "css selector", "value": selector}):
                if self.command("GET", f"/element/{found[ELEMENT]}/displayed"):
                    return found[ELEMENT]
            return None
        return wait_until(f"a visible {selector}", look, seconds)

    def click(self, selector):
        def press():
            self.command("POST", f"/element/{self.find(selector)}/click", {})
            return True
        wait_until(f"{selector} to take a click", press)

    def type(self, selector, text):
        element = self.find(selector)
        self.command("POST", f"/element/{element}/clear", {})
        self.command("POST", f"/element/{element}/value", {"text": text})

    def choose(self, selector, path):
        """Picks a file in a file input, which may be out of sight."""
        found = self.command("POST", "/element", {"using": "css selector", "value": selector})
        self.command("POST", f"/element/{found[ELEMENT]}/value", {"text": str(path)})

    def text(self, selector):
        return self.command("GET", f"/element/{self.find(selector)}/text").strip()

    def run(self, script, *arguments):
        return self.command("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait_text(self, selector, accept=bool, what=None, seconds=20):
        return wait_until(what or f"text in {selector}", lambda: accept(text := self.text(selector)) and text, seconds)

    def log(self, kind):
        return self.command("POST", "/se/log", {"type": kind})

    def screenshot(self, path):
        import base64
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.command("GET", "/screenshot")))

    def close(self):
        try:
            if self.session:
                self.command("DELETE", "")
        except (OSError, WebDriverError):
            pass
        finally:
            self.process.terminate()
            self.process.wait(timeout=20)
            shutil.rmtree(self.profile, ignore_errors=True)
