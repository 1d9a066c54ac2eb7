"""Mail by real servers there and back: Postfix carries it, Dovecot keeps the mailboxes.

usage: answered.py DOCKET [FOLDER]; logs are left in FOLDER

Docket sends a step of a sequence to three people. One does not exist, and Postfix returns the mail; one writes back, and the
reply is copied to Docket; one is away, and Dovecot's Sieve says so. The lines that route mail into Docket are those of
docs/receiving.md, word for word. Postfix has to be started as root.
"""

import email
import os
import re
import shutil
import smtplib
import subprocess
import sys
import tempfile
from email import policy
from email.message import EmailMessage
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from house import House, eventually, free_port  # noqa: E402

PEOPLE = ["ada@example.org", "eve@example.org", "ops@example.com"]
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]


def documented():
    """The files of docs/receiving.md, by name."""
    text = (HERE.parent.parent / "docs/receiving.md").read_text()
    block = re.search(r"^```\n(# main\.cf\n.*?)^```$", text, re.S | re.M)[1]
    parts = re.split(r"^# (main\.cf|transport|recipient_bcc)\b.*\n", block, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def filled(name, **values):
    text = (HERE / name).read_text()
    for placeholder, value in values.items():
        text = text.replace(f"@{placeholder.upper()}@", str(value))
    return text


class Postfix:
    """Takes mail on a port of its own, and hands it to the mailboxes or to Docket."""

    def __init__(self, folder, log, mailboxes, lmtp):
        self.port, self.config = free_port(), folder / "etc"
        self.config.mkdir(parents=True)
        lines = documented()
        for name in ["transport", "recipient_bcc"]:
            (self.config / name).write_text(lines[name].replace("127.0.0.1:2424", f"127.0.0.1:{lmtp}"))
        ours = lines["main.cf"].replace("/etc/postfix", str(self.config))
        main = filled("postfix.main.cf", folder=folder, log=log, mailboxes=mailboxes)
        (self.config / "main.cf").write_text(main + ours)
        (self.config / "master.cf").write_text(filled("postfix.master.cf", port=self.port))
        (folder / "queue").mkdir()
        (folder / "lib").mkdir()
        subprocess.run([*AS_ROOT, "chown", "postfix", folder / "lib"], check=True)
        if AS_ROOT:
            subprocess.run([*AS_ROOT, "chown", "-R", "root", folder / "queue", self.config], check=True)

    def command(self, verb):
        command = [*AS_ROOT, "postfix", "-c", self.config, verb]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)

    def __enter__(self):
        started = self.command("start")
        assert started.returncode == 0, started.stderr
        eventually("Postfix listens", lambda: listens(self.port))
        return self

    def __exit__(self, *_):
        self.command("stop")


class Dovecot:
    """Keeps the mailboxes, and answers for whoever is away."""

    def __init__(self, folder, log, port, submission):
        self.folder, self.port = folder, port
        (folder / "mail").mkdir(parents=True)
        (folder / "users").write_text("".join(f"{person}:::::::\n" for person in PEOPLE))
        away = folder / "mail" / "eve@example.org"
        away.mkdir()
        shutil.copy(HERE / "vacation.sieve", away / "script.sieve")
        # Mail is never kept as root.
        user, group = ("nobody", "nogroup") if os.geteuid() == 0 else (os.getuid(), os.getgid())
        subprocess.run([*AS_ROOT, "chown", "-R", f"{user}:{group}", folder / "mail"], check=True)
        values = {"folder": folder, "log": log, "port": port, "submission": submission, "user": user, "group": group}
        self.config = folder / "dovecot.conf"
        self.config.write_text(filled("dovecot.conf", **values))

    def __enter__(self):
        self.process = subprocess.Popen([*AS_ROOT, "dovecot", "-F", "-c", self.config])
        eventually("Dovecot listens", lambda: self.process.poll() is None and listens(self.port))
        return self

    def __exit__(self, *_):
        subprocess.run([*AS_ROOT, "doveadm", "-c", self.config, "stop"], timeout=60)
        self.process.wait(timeout=60)

    def mails(self, person):
        """The mails in a mailbox."""
        found = subprocess.run(
            [*AS_ROOT, "find", self.folder / "mail" / person / "Maildir", "-path", "*/new/*", "-type", "f"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        read = [subprocess.check_output([*AS_ROOT, "cat", path]) for path in found.stdout.splitlines()]
        return [email.message_from_bytes(mail, policy=policy.default) for mail in read]


def listens(port):
    try:
        smtplib.SMTP("127.0.0.1", port, timeout=5).close()
        return True
    except (OSError, smtplib.SMTPException):
        return None


def reply(mail, port):
    """What a mail program does when somebody presses the button to answer."""
    answer = EmailMessage()
    answer["From"], answer["To"] = "Ada <ada@example.org>", mail["Reply-To"] or mail["From"]
    answer["Subject"] = f"Re: {mail['Subject']}"
    # Too long for a line, so that Python writes both as encoded words.
    answer["In-Reply-To"] = mail["Message-ID"]
    answer["References"] = f"{mail.get('References', '')} {mail['Message-ID']}".strip()
    answer["Message-ID"] = "<answer-1@example.org>"
    answer.set_content("Yes, do come by on Tuesday.\n\n> A word about your roof.\n")
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.send_message(answer)


def story(house, postfix, dovecot):
    outbox = house.sender(
        "email", f"smtp://127.0.0.1:{postfix.port}?tls=none",
        fromAddress="ops@outreach.example.com", fromName="Opérations", replyTo="ops@example.com",
        returnPathDomain="bounces.example.com",
    )
    people = ["ada", "eve", "nobody"]
    rows = "First name,Last name,Email\n" + "".join(f"{name},Test,{name}@example.org\n" for name in people)
    folder = house.ask("POST", "crm/imports?name=Fair", rows.encode(), content_type="text/csv")
    house.ask("POST", f"crm/imports/{folder['importFolderId']}/commit", {}, prefer="wait=60")
    campaign = house.tool("create_outbound_campaign", name="Roofs", status="active")["campaign"]["campaignId"]
    everybody = {"filter": {"source": "crm"}, "maxContacts": 10}
    house.tool("bulk_add_contacts_to_campaign_by_filter", campaignId=campaign, **everybody)
    words = {"subject": "Your roof, {{firstName}}", "text": "A word about your roof."}
    steps = [{"outboxId": outbox, "payload": words}, {"outboxId": outbox, "payload": words, "waitMinutes": 4320}]
    sequence = house.ask("POST", "crm/sequences", {"name": "Roofs", "steps": steps})["id"]
    house.ask("POST", f"crm/sequences/{sequence}/enroll", {"campaignId": campaign})

    def activity(name):
        found = house.ask("GET", "crm/activities?limit=100")
        found = found["items"] if isinstance(found, dict) else found
        return next((activity for activity in found if activity["to"] == f"{name}@example.org"), None)

    def stands(name):
        enrolled = house.ask("GET", f"crm/sequences/{sequence}/enrollments")
        contact = activity(name)["contactId"]
        return next(one for one in enrolled if one["contactId"] == contact)

    def stopped_because(name):
        stood = stands(name)
        return stood["because"] if stood["state"] == "stopped" else None

    def delivery(name, expected):
        eventually(f"{name}'s mail is {expected}", lambda: activity(name)["delivery"] == expected)

    for name in people:
        eventually(f"{name}'s mail is sent", lambda: (activity(name) or {}).get("status") == "sent")

    # Postfix could not deliver it, and says so to the return path.
    delivery("nobody", "bounced")
    eventually("the sequence stops", lambda: stopped_because("nobody") == "bounced")
    listed = house.ask("GET", "crm/suppressions")
    listed = listed["items"] if isinstance(listed, dict) else listed
    assert [(one["address"], one["reason"]) for one in listed] == [("nobody@example.org", "bounce")], listed
    again = house.send("email", outbox, "nobody@example.org", {"subject": "Again", "text": "Hello"})
    assert (again["status"], again["reason"]) == ("blocked_by_allowlist", "suppressed"), again

    # Dovecot says that eve is away: heard, and nothing follows from it.
    eventually("the absence is heard", lambda: house.metric("docket_mail_heard_total", kind="automatic_reply") == 1)
    assert activity("eve")["delivery"] == "unknown", activity("eve")
    assert stands("eve")["state"] == "active", stands("eve")

    # Ada answers; people read it in the mailbox, and Docket its copy.
    mail = eventually("the mail is in the mailbox", lambda: next(iter(dovecot.mails("ada@example.org")), None))
    assert mail["Subject"] == "Your roof, ada" and mail["List-Unsubscribe-Post"], mail.as_string()
    assert mail["Return-Path"].startswith("<dkt-") and mail["Return-Path"].endswith("@bounces.example.com>")
    reply(mail, postfix.port)
    delivery("ada", "replied")
    eventually("the sequence stops", lambda: stopped_because("ada") == "replied")
    read = eventually("the answer is in the mailbox", lambda: next(iter(dovecot.mails("ops@example.com")), None))
    assert read["In-Reply-To"].strip() == mail["Message-ID"].strip(), (read.as_string(), mail.as_string())

    heard = {kind: house.metric("docket_mail_heard_total", kind=kind) for kind in
             ["reply", "bounce", "automatic_reply", "complaint", "other", "unmatched", "unknown", "unavailable"]}
    assert heard.pop("reply") == heard.pop("bounce") == heard.pop("automatic_reply") == 1, heard
    assert not any(heard.values()), heard


def main():
    program = sys.argv[1]
    logs = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        # The servers' own users pass through this folder.
        folder.chmod(0o711)
        lmtp, mailboxes = free_port(), free_port()
        try:
            postfix = Postfix(folder / "postfix", logs / "postfix.log", mailboxes, lmtp)
            dovecot = Dovecot(folder / "dovecot", logs / "dovecot.log", mailboxes, postfix.port)
            settings = {"DOCKET_LMTP_LISTEN": f"127.0.0.1:{lmtp}"}
            with dovecot, postfix, House(program, log=logs / "docket-mail.log", **settings) as house:
                story(house, postfix, dovecot)
        finally:
            # What belongs to other users is theirs to remove.
            subprocess.run([*AS_ROOT, "rm", "-rf", folder / "postfix", folder / "dovecot"])
    print("Postfix's bounce, a person's reply and Dovecot's absence notice are told apart, and what follows is right")


if __name__ == "__main__":
    main()
