"""Starts and stops a real server for the client suites."""

import os
import pathlib
import re
import selectors
import signal
import subprocess
import tempfile
import time

import turbopuffer

READY = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")
START_SECONDS_MAX = 30


class Server:
    """One `elacsym serve` process on a random port of the loopback interface."""

    def __init__(self, folder: pathlib.Path, **settings: str):
        """Starts a server over `folder`; `settings` are environment variables of Elacsym's own."""
        # Standard error goes to a file: a pipe nobody reads would block the server.
        self.log = tempfile.NamedTemporaryFile("w+", prefix="elacsym-log-", suffix=".txt")
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("ELACSYM_")
        }
        environment.update(settings)
        self.process = subprocess.Popen(
            [
                os.environ["ELACSYM_BIN"],
                "serve",
                "--storage-url",
                folder.as_uri(),
                "--listen",
                "127.0.0.1:0",
            ],
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment,
        )
        self.url = self._wait_for_address()

    def _wait_for_address(self) -> str:
        """Reads standard output until the line with the address."""
        deadline = time.monotonic() + START_SECONDS_MAX
        seen = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                if not selector.select(deadline - time.monotonic()):
                    break
                chunk = os.read(self.process.stdout.fileno(), 4096)
                seen += chunk
                found = READY.search(seen.decode("utf-8", "replace"))
                if found:
                    return found.group(1)
                if not chunk:
                    break
        self.kill()
        raise RuntimeError(f"the server did not come up: stdout {seen!r}, log:\n{self.log_text()}")

    def log_text(self) -> str:
        """The end of what the server wrote to standard error."""
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return log.read()[-4000:]

    def client(self, **options) -> turbopuffer.Turbopuffer:
        """An official client of this server."""
        settings = {"api_key": "any-key", "base_url": self.url, "max_retries": 0, "timeout": 60.0}
        return turbopuffer.Turbopuffer(**{**settings, **options})

    def kill(self) -> None:
        """Ends the process as a power cut would: SIGKILL, nothing is flushed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self) -> int:
        """Asks the process to end (SIGTERM) and gives its exit status."""
        self.process.terminate()
        status = self.process.wait(timeout=START_SECONDS_MAX)
        self.process.stdout.close()
        return status
