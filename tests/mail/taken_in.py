"""Mail handed over by another implementation: the LMTP client of Python's smtplib.

usage: taken_in.py DOCKET

Mail of strangers is taken, mail that names a message which does not exist is refused, and so is mail that is too large.
Nobody is left waiting at the end: SIGTERM ends the server while a session is open.
"""

import signal
import smtplib
import sys
from email.message import EmailMessage
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from house import House, free_port  # noqa: E402

NOWHERE = "dkt-" + "a" * 26 + "-" + "a" * 25 + "c@bounces.example.com"


def reply(**headers):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.org", "ops@example.com", "Re: Grüße"
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content("Yes.\n.\n..hidden\n\nSchön.\n")
    return mail


def refusal(client, recipient, mail):
    """The status with which one recipient's mail is answered, 250 if it is taken."""
    try:
        client.send_message(mail, "ann@example.org", [recipient])
        return 250
    except smtplib.SMTPDataError as error:
        return error.smtp_code
    except smtplib.SMTPRecipientsRefused as error:
        return error.recipients[recipient][0]
    except smtplib.SMTPSenderRefused as error:
        return error.smtp_code


def main():
    lmtp = free_port()
    with House(sys.argv[1], DOCKET_LMTP_LISTEN=f"127.0.0.1:{lmtp}") as house:
        with smtplib.LMTP("127.0.0.1", lmtp, timeout=60) as client:
            client.ehlo_or_helo_if_needed()
            for feature in ["pipelining", "8bitmime", "smtputf8", "size"]:
                assert client.has_extn(feature), feature
            assert refusal(client, "ops@example.com", reply()) == 250
            assert refusal(client, "ops@example.com", reply(In_Reply_To=f"<{NOWHERE}>")) == 550
            assert refusal(client, NOWHERE, reply()) == 550
            assert refusal(client, "ops@example.com", reply(Auto_Submitted="auto-replied")) == 250
            assert client.noop()[0] == 250
        huge = EmailMessage()
        huge["From"], huge["Subject"] = "ann@example.org", "huge"
        huge.set_content("x\n" * (6 << 20))
        with smtplib.LMTP("127.0.0.1", lmtp, timeout=60) as client:
            assert refusal(client, "ops@example.com", huge) == 552
            assert refusal(client, "ops@example.com", reply()) == 250, "the session goes on"
            house.server.send_signal(signal.SIGTERM)
            assert house.server.wait(timeout=60) == 0
    print("smtplib hands its mail over, and is told what is refused")


if __name__ == "__main__":
    main()
