"""Mail handed to another implementation: aiosmtpd takes it, dkimpy verifies it.

usage: handed_over.py HAND_OVER_MAIL, the path of examples/hand_over_mail

It is sent in the open to a relay, by STARTTLS and by TLS with a login, with a wrong password, to a certificate that
nobody trusts, and to a recipient who is refused. RSA and Ed25519 signatures are both checked.
"""

import base64
import logging
import socket
import ssl
import subprocess
import sys
import tempfile
import warnings
from email import message_from_bytes, policy
from pathlib import Path

import dkim
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

PASSWORD = "p:/w@rd canary"
CREDENTIAL = "ops%40example.com:p%3A%2Fw%40rd%20canary"


class Mailbox:
    def __init__(self):
        self.mails = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content, session.ssl is not None))
        return "250 2.0.0 taken"


def authenticate(server, session, envelope, mechanism, data):
    right = data.login == b"ops@example.com" and data.password == PASSWORD.encode()
    return AuthResult(success=right, handled=right)


def serve(mailbox, context=None, implicit=False, login=False):
    class Server(Controller):
        def factory(self):
            secure = dict(auth_required=True, authenticator=authenticate, auth_require_tls=not implicit) if login else {}
            tls = {} if implicit or not context else dict(tls_context=context, require_starttls=True)
            return SMTP(self.handler, enable_SMTPUTF8=True, **tls, **secure)

        def _trigger_server(self):
            # Its own one takes the server's TLS context for a client's.
            socket.create_connection((self.hostname, self.port)).close()

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(mailbox, hostname="127.0.0.1", port=port, ssl_context=context if implicit else None)
    server.start()
    return server, port


def keys(folder):
    def pem(key):
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    rsa_key = rsa.generate_private_key(65537, 2048)
    der = rsa_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "rsa.pem").write_bytes(pem(rsa_key))
    traditional = rsa_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (folder / "rsa-pkcs1.pem").write_bytes(traditional)
    edwards = ed25519.Ed25519PrivateKey.generate()
    raw = edwards.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    (folder / "ed25519.pem").write_bytes(pem(edwards))
    published = base64.b64encode(der)
    return {
        "rsa": b"v=DKIM1; k=rsa; p=" + published,
        "rsa-pkcs1": b"v=DKIM1; k=rsa; p=" + published,
        "ed25519": b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw),
    }


def main():
    # A stranger's certificate makes the server complain of its client, as it should.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        story(program, Path(folder))
    print("aiosmtpd took what it should, and dkimpy verified it")


def story(program, folder):
    published = keys(folder)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "stranger.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def send(credential, to="ada@example.org", trust="ca.pem", key="rsa"):
        command = [program, credential, to, folder / trust, folder / f"{key}.pem"]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout.strip()
        assert "canary" not in told and "ada@" not in told, told
        return told

    def check(mailbox, key, secure):
        sender, recipients, mail, was_secure = mailbox.mails.pop()
        assert was_secure == secure and recipients == ["ada@example.org"], (sender, recipients, was_secure)
        assert sender.startswith("dkt-") and sender.endswith("@bounces.example.com"), sender
        assert dkim.verify(mail, dnsfunc=lambda *_, **__: published[key]), mail.decode(errors="replace")
        parsed = message_from_bytes(mail, policy=policy.default)
        assert parsed["Message-ID"] == "<" + sender.replace("@bounces.", "@") + ">"
        assert parsed["List-Unsubscribe"] == "<https://docket.example.com/u/token>"
        assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert parsed["From"].addresses[0].display_name == "Opérations"
        assert parsed["To"].addresses[0].display_name == "Ada Löwe"
        assert parsed["Subject"].startswith("Grüße aus dem Büro — a subject") and parsed["Subject"].endswith("twice")
        text = parsed.get_body(("plain",)).get_content().replace("\r\n", "\n").rstrip()
        assert text == "Bonjour,\n.\n..\nça va ?", repr(text)
        signature = " ".join(parsed["DKIM-Signature"].split())
        assert "list-unsubscribe:" in signature and "list-unsubscribe-post" in signature, signature

    mailbox = Mailbox()
    for key in published:
        server, port = serve(mailbox)
        assert send(f"smtp://127.0.0.1:{port}?tls=none", key=key).startswith("Accepted")
        check(mailbox, key, secure=False)
        assert "code: Recipient" in send(f"smtp://127.0.0.1:{port}?tls=none", to="nobody@example.org")
        server.stop()
    for scheme, implicit in [("smtp", False), ("smtps", True)]:
        server, port = serve(mailbox, context, implicit, login=True)
        assert send(f"{scheme}://{CREDENTIAL}@localhost:{port}").startswith("Accepted")
        # aiosmtpd knows of TLS only where it began it itself.
        check(mailbox, "rsa", secure=not implicit)
        assert "code: Credential" in send(f"{scheme}://ops%40example.com:wrong@localhost:{port}")
        assert "Retry" in send(f"{scheme}://{CREDENTIAL}@localhost:{port}", trust="stranger.pem")
        assert not mailbox.mails
        server.stop()


if __name__ == "__main__":
    main()
