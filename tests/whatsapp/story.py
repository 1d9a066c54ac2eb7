"""Docket against Meta's own description of WhatsApp's Cloud API.

usage: story.py DOCKET DESCRIPTION FOLDER PRISM...; logs are left in FOLDER, PRISM is the command that starts it
"""

import hashlib
import hmac
import http.server
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from house import House, eventually, free_port  # noqa: E402

NUMBER_ID = "106540352242922"
APP_SECRET = "the secret of the app"
TEXTS = [{"text": "Bonjour"}, {"text": "Grüße 👋\n\"quoted\" \\ and\ttabbed"}, {"text": "x" * 4096}]
TEMPLATES = [
    {"templateSid": "hello_world"},
    {"templateSid": "hello_world", "language": "fr"},
    {"templateSid": "order", "variables": ["Ada", 3]},
    {"templateSid": "order", "variables": {"2": "b", "1": "a"}},
    {"templateSid": "order", "variables": {"first_name": "Ada"}},
]


def resolved(description, part):
    while "$ref" in part:
        found = description
        for key in part["$ref"].removeprefix("#/").split("/"):
            found = found[key.replace("~1", "/").replace("~0", "~")]
        part = found
    return part


def examples(content):
    for media in (content or {}).values():
        yield from (example.get("value") for example in (media.get("examples") or {}).values())
        yield media.get("example")


def documented_errors(description):
    """The errors that are given as examples, once for each status, code, subcode and whether it may pass."""
    errors = {}
    for operations in description["paths"].values():
        for operation in operations.values():
            if not isinstance(operation, dict):
                continue
            for status, answer in operation.get("responses", {}).items():
                for example in examples(resolved(description, answer).get("content")):
                    error = example.get("error") if isinstance(example, dict) else None
                    if isinstance(error, dict) and "code" in error:
                        key = int(status), error["code"], error.get("error_subcode"), error.get("is_transient")
                        errors.setdefault(key, example)
    return errors


def expected(status, code, subcode):
    """What is to become of a message that is answered so: where it stands, and the code that Docket gives."""
    if code in (10, 104, 190, 200, 403):
        return "done", "credential"
    if code in (4, 17, 613, 80007):
        return "retrying", "rate_limited"
    if code == 2:
        return "retrying", "unavailable"
    if code == 1 and status >= 500:
        return "unknown", None
    if code == 803 or (code, subcode) == (100, 33):
        return "done", "configuration"
    return "done", "content"


class Meta(http.server.BaseHTTPRequestHandler):
    """Answers each recipient with the error that was chosen for them."""

    errors = {}

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, answer = self.errors[asked["to"]]
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def status_of(url, body, **headers):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json", **headers})
    try:
        return urllib.request.urlopen(request, timeout=60).status
    except urllib.error.HTTPError as refused:
        return refused.code


def sends(program, folder, description, command):
    """What Docket sends fits the description, and what the mock answers is understood."""
    port, log = free_port(), folder / "prism.log"
    with open(log, "wb") as told:
        prism = subprocess.Popen(
            [*command, "mock", "--errors", "--host", "127.0.0.1", "--port", str(port), str(description)],
            stdout=told, stderr=told,
        )
    try:
        eventually("Prism listens", lambda: prism.poll() is None and "Prism is listening" in log.read_text(), 300)
        url = f"http://127.0.0.1:{port}/v23.0/{NUMBER_ID}/messages"
        agent = {"User-Agent": "Stranger/1.0.0", "Authorization": "Bearer t"}
        fine = {
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "33612345678", "type": "text",
            "text": {"body": "Hi"},
        }
        assert status_of(url, fine, **agent) == 200
        assert status_of(url, {**fine, "recipient_type": None}, **agent) == 422, "Prism looks at bodies"
        assert status_of(url, fine, **{**agent, "Authorization": ""}) in (401, 422), "and at headers"
        begun = log.stat().st_size
        with House(program, log=folder / "docket-whatsapp.log", DOCKET_WHATSAPP_URL=f"http://127.0.0.1:{port}") as house:
            outbox = house.sender("whatsapp", "EAAtoken", phoneNumberId=NUMBER_ID)
            for payload in TEXTS + TEMPLATES:
                sent = house.send("whatsapp", outbox, "+33 6 12 34 56 78", payload)
                assert sent["status"] == "sent", (payload, sent, house.sentences(sent["id"]))
        told = log.read_bytes()[begun:].decode()
        count = told.count("The request passed the validation rules")
        assert count == len(TEXTS + TEMPLATES) and "iolation" not in told, told
        return count
    finally:
        prism.terminate()
        prism.wait(timeout=30)


def errors_and_webhooks(program, folder, description):
    """Every error of the description has its meaning, and every webhook of it is taken."""
    errors = documented_errors(description)
    assert len(errors) > 20, list(errors)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Meta)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {"DOCKET_WHATSAPP_URL": f"http://127.0.0.1:{server.server_port}"}
    wrong = []
    with House(program, log=folder / "docket-whatsapp-errors.log", **settings) as house:
        outbox = house.sender("whatsapp", "EAAtoken", phoneNumberId=NUMBER_ID)
        for number, ((status, code, subcode, transient), answer) in enumerate(errors.items()):
            to = f"336123450{number:02}"
            Meta.errors[to] = status, answer
            sent = house.send("whatsapp", outbox, f"+{to}", {"text": "Bonjour"})
            said = house.sentences(sent["id"])
            stands, because = expected(status, code, subcode)
            right = sent["dispatchState"] == stands and because in (None, sent["reason"])
            if not right or (stands == "done" and f"answered {code}" not in said):
                wrong.append((status, code, subcode, sent["status"], sent["dispatchState"], sent["reason"], said))
        assert not wrong, "\n".join(map(str, wrong))

        house.ask("PUT", "secrets/app", {"value": APP_SECRET})
        config = {"phoneNumberId": NUMBER_ID, "webhookSecretRef": "secret://app:latest"}
        house.ask("PATCH", f"crm/outboxes/{outbox}", {"config": config})
        webhooks = description["paths"]["/whatsapp/webhooks"]["post"]["requestBody"]["content"]
        webhooks = [example for example in examples(webhooks) if isinstance(example, dict)]
        for webhook in webhooks:
            body = json.dumps(webhook).encode()
            signature = "sha256=" + hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
            path = f"/webhooks/whatsapp/{house.company}/{outbox}"
            status, answer = house.exchange("POST", path, body, x_hub_signature_256=signature,
                                            content_type="application/json")
            assert status == 200, (status, answer, webhook)
    server.shutdown()
    return len(errors), len(webhooks)


def main():
    program, path, folder, command = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]
    description = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    sent = sends(program, folder, path, command)
    errors, webhooks = errors_and_webhooks(program, folder, description)
    print(f"Prism took {sent} messages without a violation; {errors} errors of Meta's have their meaning, and its")
    print(f"{webhooks} sample webhooks are taken")


if __name__ == "__main__":
    main()
