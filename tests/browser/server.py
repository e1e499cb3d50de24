"""The real server, started for a browser to look at."""

import os
import signal
import subprocess
import urllib.request

from webdriver import Failure, free_port, wait_until

TERMINAL = ("succeeded", "failed", "cancelled")


def make_tiny(binary, work):
    """Writes the tiny random model: its directory."""
    model = work / "tiny"
    made = subprocess.run([binary, "model", "tiny", model], capture_output=True, text=True, timeout=120)
    if made.returncode != 0:
        raise Failure(f"`{binary.name} model tiny` failed: {made.stderr.strip() or made.stdout.strip()}")
    return model


class Server:
    """The server on a free port, with a data directory of its own under `work`."""

    def __init__(self, binary, work, model):
        self.binary, self.work, self.model = binary, work, model
        self.origin = f"http://127.0.0.1:{free_port()}"

    def __enter__(self):
        self.log = open(self.work / "server.log", "wb")
        # The caller's own settings must not leak in; where models lie is none of them.
        kept = "AUTODIDACT_MODELS"
        clean = {name: value for name, value in os.environ.items() if name == kept or not name.startswith("AUTODIDACT_")}
        listen = self.origin.removeprefix("http://")
        arguments = ["serve", "--listen", listen, "--data", self.work / "data", "--model", self.model]
        self.process = subprocess.Popen([self.binary, *arguments], stdout=self.log, stderr=self.log, env=clean, cwd=self.work)
        try:
            wait_until("the server to be ready", self.ready, 120)
        except BaseException:
            self.__exit__()
            raise
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise Failure(f"the server ended with status {self.process.returncode} before it was ready")
        with urllib.request.urlopen(f"{self.origin}/readyz", timeout=5) as response:
            return response.status == 200

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
