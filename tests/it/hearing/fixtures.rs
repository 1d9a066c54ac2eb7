//! Mail as servers and people really write it, with a place for the message that it is about.

/// The local part that stands for the message.
const OURS: &str = "{reference}";

/// A mail about the message with this reference.
pub fn mail(text: &str, reference: &str) -> Vec<u8> {
    let mail = text.trim_start_matches('\n').replace(OURS, reference).replace("\r\n", "\n");
    mail.replace('\n', "\r\n").into_bytes()
}

/// Postfix: the mailbox does not exist.
pub const POSTFIX_BOUNCE: &str = r#"
Return-Path: <>
Date: Sat, 21 Nov 2026 18:00:05 +0000 (UTC)
From: MAILER-DAEMON@mx.example.org (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {reference}@bounces.example.com
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="4F1C92.1795284005/mx.example.org"
Message-Id: <20261121180005.4F1C9@mx.example.org>

This is a MIME-encapsulated message.

--4F1C92.1795284005/mx.example.org
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.example.org.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients.

<ann@example.org>: host mail.example.org[192.0.2.1] said: 550 5.1.1
    <ann@example.org>: Recipient address rejected: User unknown in virtual
    mailbox table (in reply to RCPT TO command)

--4F1C92.1795284005/mx.example.org
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
X-Postfix-Queue-ID: 4F1C92
X-Postfix-Sender: rfc822; {reference}@bounces.example.com
Arrival-Date: Sat, 21 Nov 2026 18:00:01 +0000 (UTC)

Final-Recipient: rfc822; ann@example.org
Original-Recipient: rfc822;ann@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.example.org
Diagnostic-Code: smtp; 550 5.1.1 <ann@example.org>: Recipient address rejected:
    User unknown in virtual mailbox table

--4F1C92.1795284005/mx.example.org
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: Ops <ops@example.com>
To: ann@example.org
Subject: Hello
Message-ID: <{reference}@example.com>

--4F1C92.1795284005/mx.example.org--
"#;

/// Exchange Online: the mailbox does not exist, told to who writes, with the original in it.
pub const EXCHANGE_BOUNCE: &str = r#"
From: Microsoft Outlook
	<MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.org>
To: <ops@example.com>
Date: Sat, 21 Nov 2026 18:00:09 +0000
Content-Type: multipart/report; report-type=delivery-status;
	boundary="93c7ac5d-9e8c-4c3c"
X-MS-Exchange-Message-Is-Ndr:
Content-Language: en-GB
Message-ID: <9b0f1@AM0PR01MB.example.org>
In-Reply-To: <{reference}@example.com>
References: <{reference}@example.com>
Subject: Undeliverable: Hello
Auto-Submitted: auto-replied
MIME-Version: 1.0

--93c7ac5d-9e8c-4c3c
Content-Type: text/html; charset="us-ascii"

<html><body>Your message to ann@example.org couldn't be delivered.</body></html>

--93c7ac5d-9e8c-4c3c
Content-Type: message/delivery-status

Reporting-MTA: dns;AM0PR01MB.example.org
Received-From-MTA: dns;mail.example.com
Arrival-Date: Sat, 21 Nov 2026 18:00:04 +0000

Final-Recipient: rfc822;ann@example.org
Action: failed
Status: 5.1.10
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup

--93c7ac5d-9e8c-4c3c
Content-Type: message/rfc822

From: Ops <ops@example.com>
To: ann@example.org
Subject: Hello
Message-ID: <{reference}@example.com>

Hello
--93c7ac5d-9e8c-4c3c--
"#;

/// A full mailbox: given up, and yet the address is one.
pub const FULL_MAILBOX: &str = r#"
From: Mail Delivery Subsystem <mailer-daemon@googlemail.example>
To: {reference}@bounces.example.com
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
References: <{reference}@example.com>
In-Reply-To: <{reference}@example.com>
Message-ID: <65f1@mx.google.example>
Date: Sat, 21 Nov 2026 10:00:05 -0800 (PST)
Content-Type: multipart/report; boundary="000000000000b8"; report-type=delivery-status
MIME-Version: 1.0

--000000000000b8
Content-Type: text/plain; charset="UTF-8"

The recipient's inbox is out of storage space.

--000000000000b8
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.example
Arrival-Date: Sat, 21 Nov 2026 10:00:01 -0800 (PST)

Final-Recipient: rfc822; ann@example.org
Action: failed
Status: 4.2.2
Diagnostic-Code: smtp; 452-4.2.2 The recipient's inbox is out of storage space.

--000000000000b8--
"#;

/// A delay: nothing is decided.
pub const DELAY: &str = r#"
From: MAILER-DAEMON@mx.example.com (Mail Delivery System)
Subject: Delayed Mail (still being retried)
To: {reference}@bounces.example.com
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="D"

--D
Content-Type: text/plain

Your message could not be delivered for 4 hour(s). It will be retried.

--D
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Final-Recipient: rfc822; ann@example.org
Action: delayed
Status: 4.4.1

--D--
"#;

/// A complaint of a mailbox provider's feedback loop.
pub const COMPLAINT: &str = r#"
From: <staff@feedback.example.org>
To: fbl@example.com
Subject: complaint about message from 192.0.2.9
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="F"

--F
Content-Type: text/plain; charset="US-ASCII"

This is an e-mail abuse report.

--F
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1

--F
Content-Type: message/rfc822

From: Ops <ops@example.com>
To: ann@example.org
Subject: Hello
Message-ID: <{reference}@example.com>

Hello
--F--
"#;

/// Gmail's answer of a person: top-posted, the original quoted.
pub const GMAIL_REPLY: &str = r#"
MIME-Version: 1.0
Date: Sat, 21 Nov 2026 19:12:01 +0100
References: <{reference}@example.com>
In-Reply-To: <{reference}@example.com>
Message-ID: <CAGx1@mail.gmail.example>
Subject: Re: Hello
From: Ann Lee <ann@example.org>
To: Ops <ops@example.com>
Content-Type: multipart/alternative; boundary="000000000000f1"

--000000000000f1
Content-Type: text/plain; charset="UTF-8"

Yes, Tuesday at ten suits me.

On Sat, 21 Nov 2026 at 19:00, Ops <ops@example.com> wrote:

> Hello
> Reply STOP to end this.

--000000000000f1
Content-Type: text/html; charset="UTF-8"

<div>Yes, Tuesday at ten suits me.</div>

--000000000000f1--
"#;

/// Outlook's, which keeps its own thread headers and answers to the return path.
pub const OUTLOOK_REPLY: &str = r#"
From: Ann Lee <ann.lee@example.org>
To: "{reference}@bounces.example.com" <{reference}@bounces.example.com>
Subject: RE: Hello
Thread-Topic: Hello
Thread-Index: AQHa1
Date: Sat, 21 Nov 2026 18:20:01 +0000
Message-ID: <DB9P190@DB9P190.example.org>
X-Auto-Response-Suppress: DR, OOF, AutoReply
MIME-Version: 1.0
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

Sch=F6n, gern.

________________________________
From: Ops <ops@example.com>
"#;

/// A person who says it in a mail instead of pressing the button.
pub const STOP_REPLY: &str = r#"
From: Ann Lee <ann@example.org>
To: ops@example.com
Subject: Re: Hello
In-Reply-To: <{reference}@example.com>
Message-ID: <s1@example.org>

Unsubscribe.

> Hello
"#;

/// Exchange's absence.
pub const EXCHANGE_ABSENCE: &str = r#"
From: Ann Lee <ann@example.org>
To: Ops <ops@example.com>
Subject: Automatic reply: Hello
Date: Sat, 21 Nov 2026 18:00:03 +0000
Message-ID: <a1@example.org>
In-Reply-To: <{reference}@example.com>
References: <{reference}@example.com>
X-Auto-Response-Suppress: All
auto-submitted: auto-generated
MIME-Version: 1.0
Content-Type: text/plain; charset="us-ascii"

I am away until Monday. For anything urgent: stop by at the office.
"#;

/// Sieve's vacation, to the return path, from nobody.
pub const SIEVE_VACATION: &str = r#"
X-Sieve: Pigeonhole Sieve 0.5.21
Message-ID: <dovecot-sieve-1795284003@mail.example.org>
Date: Sat, 21 Nov 2026 18:00:03 +0000
From: ann@example.org
To: <{reference}@bounces.example.com>
Subject: Auto: Hello
In-Reply-To: <{reference}@example.com>
References: <{reference}@example.com>
Auto-Submitted: auto-replied (vacation)
Precedence: bulk
X-Auto-Response-Suppress: All
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

I am on holiday.
"#;

/// A ticket system's receipt.
pub const TICKET: &str = r#"
From: Support <support@example.org>
To: ops@example.com
Subject: [#4711] Hello
In-Reply-To: <{reference}@example.com>
Message-ID: <t1@example.org>
X-Autoreply: yes

We have received your request.
"#;

/// A newsletter to the mailbox that is handed over as well.
pub const NEWSLETTER: &str = r#"
From: News <news@example.net>
To: ops@example.com
Subject: This week
List-Id: <news.example.net>
Message-ID: <n1@example.net>

Everything is new.
"#;
