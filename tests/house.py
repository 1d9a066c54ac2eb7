"""A company on a `docket serve` of its own, for the checks in which strangers send to it or are sent to.

The server has a private PostgreSQL in a folder that is gone afterwards. Whatever is waited for has a deadline.
"""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE = 120


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def eventually(what, ask, patience=PATIENCE):
    """Asks until there is an answer that is not None and not False, and gives it."""
    until = time.monotonic() + patience
    while True:
        answer = ask()
        if answer is not None and answer is not False:
            return answer
        assert time.monotonic() < until, f"{what} did not happen within {patience} seconds"
        time.sleep(0.1)


class House:
    """`with House(program, DOCKET_…=…) as house`; the settings are environment variables of the server."""

    def __init__(self, program, log=None, **settings):
        self.program, self.settings, self.log = program, settings, log

    def __enter__(self):
        self.data = tempfile.TemporaryDirectory()
        # The private PostgreSQL's own user passes through this folder.
        os.chmod(self.data.name, 0o711)
        self.url = f"http://127.0.0.1:{free_port()}"
        settings = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKET_", "DATABASE_"))}
        self.environment = settings | {"DOCKET_DATA_DIR": self.data.name} | self.settings
        serving = {
            "DOCKET_LISTEN": self.url.removeprefix("http://"),
            "DOCKET_PUBLIC_URL": "https://crm.example.com",
            "DOCKET_RATE_LIMIT": "off",
            "DOCKET_ALLOW_PRIVATE_TARGETS": "127.0.0.0/8",
        }
        told = open(self.log, "wb") if self.log else subprocess.DEVNULL
        environment = self.environment | serving
        self.server = subprocess.Popen([self.program, "serve"], env=environment, stdout=told, stderr=told)
        try:
            eventually("docket comes up", self.is_ready, 300)
            founded = self.run("organization", "create", "--name=Acme", "--slug=acme", "--owner-email=o@example.com")
            self.company = founded["id"]
            self.token = self.run("token", "create", "--role=super-admin", "--for=Strangers <o@example.com>")["token"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            try:
                self.server.wait(timeout=90)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
        self.data.cleanup()

    def run(self, *arguments):
        command = [self.program, "--json", *arguments]
        run = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, check=True, text=True, timeout=120)
        return json.loads(run.stdout)

    def is_ready(self):
        assert self.server.poll() is None, "docket ended"
        try:
            urllib.request.urlopen(f"{self.url}/readyz", timeout=5).close()
            return True
        except OSError:
            return None

    def exchange(self, method, path, body=None, **headers):
        """Status and answer of a request; the answer is JSON where it is some, and text otherwise."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, (dict, list)):
            body, headers["content-type"] = json.dumps(body).encode(), "application/json"
        headers = {"authorization": f"Bearer {self.token}"} | headers
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            status, text = refused.code, refused.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode(errors="replace")

    def ask(self, method, path, body=None, **headers):
        """The answer of a route of the company, which must succeed."""
        status, answer = self.exchange(method, f"/api/companies/{self.company}/{path}", body, **headers)
        assert 200 <= status < 300, (method, path, status, answer)
        return answer

    def tool(self, name, /, **given):
        body = {"organizationId": self.company, "input": given}
        status, answer = self.exchange("POST", f"/crm/agent/tools/{name}", body)
        assert status == 200, (name, status, answer)
        return answer["data"]

    def sender(self, channel, credential, **config):
        """An outbox with this credential, whose messages go out by themselves to everybody."""
        self.ask("PUT", f"secrets/of-{channel}", {"value": credential})
        outbox = {"channel": channel, "secretRef": f"secret://of-{channel}:latest", "config": config}
        outbox = self.ask("POST", "crm/outboxes", outbox)["id"]
        self.ask("POST", "crm/allowlist", {"entry": "*", "acknowledgeAll": True})
        rule = {"predicate": {"channel": channel}, "action": "auto_approve", "priority": 1}
        self.ask("POST", "crm/approval-rules", rule)
        return outbox

    def activity(self, activity_id):
        return self.ask("GET", f"crm/activities/{activity_id}")

    def sentences(self, activity_id):
        """What there is to say of an activity."""
        return " ".join(self.ask("GET", f"crm/activities/{activity_id}/explain")["sentences"])

    def send(self, channel, outbox, to, payload):
        """Sends, and gives the activity once its channel has answered for the first time."""
        body = {"channel": channel, "outboxId": outbox, "to": to, "payload": payload}
        sent = self.ask("POST", "crm/send", body, prefer="wait=10")

        def answered():
            activity = self.activity(sent["id"])
            return activity if activity["dispatchState"] in ("done", "unknown", "retrying") else None

        return eventually(f"the outcome on {channel}", answered)

    def metric(self, name, **labels):
        """The value of a counter, 0 as long as nothing was counted."""
        _, text = self.exchange("GET", "/metrics")
        for line in text.splitlines():
            if line.startswith(name) and all(f'{label}="{value}"' in line for label, value in labels.items()):
                return float(re.split(r"\s+", line)[-1])
        return 0.0
