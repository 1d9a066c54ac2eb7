"""Puts ids that exist where the generator has made up ids, so that its calls get past the question of what exists.

What is not an id is left as it was made up: those are the calls that must be refused. So is one value in eight, so that
what does not exist is asked for as well.
"""

import itertools
import json
import os
import re
import urllib.error
import urllib.request
import uuid
import zlib

import schemathesis

URL = os.environ["DOCKET_URL"]
ORGANIZATION = os.environ["DOCKET_ORG"]
CAMPAIGN = os.environ["DOCKET_CAMPAIGN"]
COMPANY = f"/api/companies/{ORGANIZATION}/crm"
OF_A_COMPANY = "/api/companies/{companyId}/crm"
SEQUENCE = os.environ["DOCKET_SEQUENCE"]
WORDS = {"subject": "Essai", "text": "Bonjour."}
TOOLS = "/crm/agent/"
# What the document calls an id, of the tools and of the company API.
ID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
UUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def ask(path, body=None, token="DOCKET_TOKEN"):
    headers = {"Authorization": f"Bearer {os.environ[token]}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(URL + path, data, headers)) as answer:
        return json.load(answer)


def rows(tool, rows_name, **given):
    return ask(f"/crm/agent/tools/{tool}", {"organizationId": ORGANIZATION, "input": given})["data"][rows_name]


def ids(path):
    return [row["id"] for row in ask(f"{COMPANY}/{path}")]


def made(path, **body):
    return ask(f"{COMPANY}/{path}", body)["id"]


def outbox(niche=None):
    """A sender that writes through the demo's mailbox."""
    like = next(row for row in ask(f"{COMPANY}/outboxes") if row["id"] == os.environ["DOCKET_OUTBOX"])
    taken = {name: like[name] for name in ("channel", "secretRef", "config", "timeZone")}
    return made("outboxes", niche=niche, **taken)


def rule(niche="of-nobody", priority=1_000):
    return made("approval-rules", predicate={"niche": niche}, action="queue_for_manual", priority=priority)


def piece():
    name = uuid.uuid4().hex
    return made("content-pieces", title="Essai", sourcePath=f"essai/{name}.md", sourceSha256=2 * name)


def webhook():
    return made("webhooks", url="https://hooks.example/docket")


def sequence():
    steps = [{"outboxId": WATCHED, "waitMinutes": 0, "payload": WORDS}]
    return made("sequences", name="Essai", steps=steps)


def waiting(token="DOCKET_AGENT_TOKEN"):
    """A mail that waits for a person, who must not be its drafter."""
    mail = {"channel": "email", "outboxId": WATCHED, "to": ALLOWED[0], "payload": WORDS}
    return ask(f"{COMPANY}/send", mail, token)


def known():
    """Ids that exist, by the name of the field that takes them."""
    new = {"campaignId": CAMPAIGN, "statusIn": ["new"], "limit": 20}
    contacts = [row["contactId"] for row in rows("list_outbound_contacts", "contacts", **new)]
    agents = [row["agentId"] for row in rows("list_outbound_agents", "agents", active=True, limit=20)]
    scripts = [row["templateId"] for row in rows("list_script_templates", "templates")]
    forms = [row["templateId"] for row in rows("list_qualification_templates", "templates")]
    executions = [
        rows("upsert_script_execution", "execution", campaignId=CAMPAIGN, contactId=contact, responses=[])["executionId"]
        for contact in contacts[:5]
    ]
    found = rows("list_qualifications", "qualifications", limit=20)
    slug = f"another-{uuid.uuid4().hex[:12]}"
    other = ask("/api/admin/organizations", {"name": "Another", "slug": slug, "ownerEmail": "it@another.example"})
    due = {"campaignId": CAMPAIGN, "contactId": contacts[5], "agentId": agents[0], "dueAt": "2099-01-01T00:00:00Z"}
    return {
        "companyId": [ORGANIZATION],
        "organizationId": [other["id"]],
        "campaignId": [row["campaignId"] for row in rows("list_campaigns", "campaigns", status=["active", "draft"])],
        "contactId": contacts,
        "agentId": agents,
        "assignedAgentId": agents,
        "scriptTemplateId": scripts,
        "qualificationTemplateId": forms,
        "executionId": executions,
        "scriptExecutionId": executions,
        "qualificationId": [one["qualificationId"] for one in found],
        # The smallest: it is analysed within a call by an unoptimized build too.
        "importFolderId": [row["importFolderId"] for row in ask(f"{COMPANY}/imports") if row["rows"] < 5_000],
        "followUpId": [ask(f"{COMPANY}/follow-ups", due)["followUpId"]],
        "outboxId": ids("outboxes"),
        "ruleId": ids("approval-rules"),
        "contentPieceId": ids("content-pieces"),
        "pieceId": ids("content-pieces"),
        "activityId": ids("activities?limit=20"),
        "approvalId": [waiting()["approvalId"] for _ in range(10)],
        # One alone, so that the enrollments are of it.
        "sequenceId": [SEQUENCE],
        "enrollmentId": ids(f"sequences/{SEQUENCE}/enrollments?limit=20"),
        "webhookId": [webhook()],
    }


def sacrificed():
    """Of tools that close or take away what all others need: ids of their own."""
    steps = [{"id": "a", "type": "instruction", "text": "Bonjour."}]
    campaign = rows("create_outbound_campaign", "campaign", name="To be changed")["campaignId"]
    script = rows("create_script_template", "template", name="To be deleted", steps=steps)["templateId"]
    return {
        "/crm/agent/tools/update_outbound_campaign": {"campaignId": [campaign]},
        "/crm/agent/tools/bulk_remove_contacts_from_campaign": {"campaignId": [os.environ["DOCKET_OTHER_CAMPAIGN"]]},
        "/crm/agent/tools/delete_script_template": {"scriptTemplateId": [script]},
        f"{OF_A_COMPANY}/outboxes/{{outboxId}}": {"outboxId": [outbox(), outbox()]},
        f"{OF_A_COMPANY}/approval-rules/{{ruleId}}": {"ruleId": [rule(), rule()]},
        f"{OF_A_COMPANY}/content-pieces/{{pieceId}}": {"pieceId": [piece(), piece()]},
        f"{OF_A_COMPANY}/sequences/{{sequenceId}}": {"sequenceId": [sequence(), sequence()]},
    }


def fresh(operation):
    """Of a call that is good for one time only: an id of its own, by the name in the path, and what goes with it."""
    makers = {"outboxId": outbox, "ruleId": rule, "pieceId": piece, "webhookId": webhook}
    name = operation.path.rsplit("/", 1)[-1].strip("{}")
    if operation.method.upper() == "DELETE" and name in makers:
        return {name: makers[name]()}, {}
    if operation.path.startswith(f"{OF_A_COMPANY}/approvals/{{approvalId}}/"):
        mail = waiting()
        approves = operation.path.endswith("/approve")
        return {"approvalId": mail.get("approvalId")}, {"contentHash": mail["contentHash"]} if approves else {}
    if operation.path == f"{OF_A_COMPANY}/activities/{{activityId}}/revise":
        return {"activityId": waiting("DOCKET_TOKEN")["id"]}, {"payload": WORDS}
    return {}, {}


# Who may be written to, and a sender whose mails wait for a person.
ALLOWED = ["essai@traboule.example"]
ask(f"{COMPANY}/allowlist", {"entry": ALLOWED[0]})
ALLOWED += [row["entry"] for row in ask(f"{COMPANY}/allowlist?limit=20") if row["kind"] == "address"]
WATCHED = outbox("watched")
rule("watched", 0)
KNOWN = known()
SACRIFICED = sacrificed()


def is_id(value, path):
    return isinstance(value, str) and (ID if path.startswith(TOOLS) else UUID).match(value) is not None


def left_alone(value):
    """Whether this value is the one in eight."""
    return zlib.crc32(str(value).encode()) % 8 == 7


def with_known(name, value, path):
    """The value, or an id that exists where it is an id; the same one for the same value."""
    if name == "templateId":
        name = "qualificationTemplateId" if "qualif" in path else "scriptTemplateId"
    if name.endswith("Ids") and isinstance(value, list):
        # Neighbours of the first one, so that they differ.
        first = with_known(name[:-1], value[0], path) if value else None
        ids = KNOWN.get(name[:-1], [])
        return [
            ids[(ids.index(first) + nth) % len(ids)] if first in ids and is_id(one, path) else one
            for nth, one in enumerate(value)
        ]
    if name not in KNOWN or not is_id(value, path):
        return value
    # What exists may come from an earlier answer: left alone, what all others need would be closed or taken away.
    exists = value == ORGANIZATION or value in KNOWN[name]
    if left_alone(value) and not exists:
        return value
    ids = SACRIFICED.get(path, {}).get(name, KNOWN[name])
    return ids[zlib.crc32(value.encode()) % len(ids)]


def with_known_ids(value, path):
    """The same, through all of it."""
    if isinstance(value, dict):
        scope = value.get("scope")
        if path.startswith(OF_A_COMPANY) and f"{scope}Id" in KNOWN and isinstance(value.get("id"), str):
            value = {**value, "id": with_known(f"{scope}Id", value["id"], path)}
        found = {name: with_known_ids(with_known(name, one, path), path) for name, one in value.items()}
        if found.get("contactId") in KNOWN["contactId"] and found.get("campaignId") in KNOWN["campaignId"]:
            found["campaignId"] = CAMPAIGN
        return found
    if isinstance(value, list):
        return [with_known_ids(one, path) for one in value]
    return value


def further(value):
    """A request that the document allows, as far as it can get: no tokens of lists and previews that never were, no
    moment of the past, no control characters, which are refused in every text."""
    if isinstance(value, dict):
        made_up = ("cursor", "previewToken", "asOf")
        return {name: further(one) for name, one in value.items() if name not in made_up or left_alone(one)}
    if isinstance(value, list):
        return [further(one) for one in value]
    if isinstance(value, str) and not left_alone(value):
        return CONTROL.sub("-", value)
    return value


REACHED = itertools.count()


def reach(case):
    """The same of the company API: what is good for one time only is there, and a mail is one that can be sent."""
    path, body = case.operation.path, case.body
    # By count: the same request is made up again and again.
    if next(REACHED) % 8 == 7:
        return
    try:
        in_path, in_body = fresh(case.operation)
    except urllib.error.HTTPError as refused:
        if refused.code >= 500:
            raise
        # Of some things there may only be so many.
        in_path, in_body = {}, {}
    case.path_parameters = {**(case.path_parameters or {}), **{name: one for name, one in in_path.items() if one}}
    if isinstance(body, dict):
        case.body = {**body, **in_body}
        if path == f"{OF_A_COMPANY}/send":
            to = ALLOWED[zlib.crc32(str(body).encode()) % len(ALLOWED)]
            case.body |= {"channel": "email", "to": to, "payload": WORDS}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Of every phase: hooks that map what is generated are not asked about what the schema's own limits give."""
    path = case.operation.path
    case.path_parameters = with_known_ids(case.path_parameters, path)
    case.query = with_known_ids(case.query, path)
    case.body = with_known_ids(case.body, path)
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive and not path.startswith(TOOLS):
        reach(case)
    for place in (case.query, case.body):
        # There it is the organization that the call is about.
        if path.startswith(TOOLS) and isinstance(place, dict) and is_id(place.get("organizationId"), path):
            place["organizationId"] = ORGANIZATION
    if not path.startswith(TOOLS) or not isinstance(case.body, dict):
        return
    # A name of the request in both places is one name, and of one request.
    if positive:
        case.body = further(case.body)
        if not left_alone(case.body.get("requestId")):
            case.body.pop("requestId", None)
    if (case.headers or {}).get("Idempotency-Key") and case.body.get("requestId") is not None:
        if is_id(case.headers["Idempotency-Key"], path):
            del case.headers["Idempotency-Key"]


# Why a request that the document allows may be refused as malformed all the same.
BEYOND_THE_SCHEMA = {
    # How its fields go together. The strict schemas of models have no words for alternatives.
    "CONTRADICTION", "EXACTLY_ONE_OF", "AT_LEAST_ONE_OF", "EMPTY_INTERVAL", "EMPTY_WINDOW",
    "END_BEFORE_START", "INVALID_HOURS",
    # What is: now, in the ledger, in the list.
    "AS_OF_NOT_YET", "POSITION_BEYOND_HEAD", "BEYOND_HEAD", "UNKNOWN_ID", "INVALID_CURSOR", "TOO_EARLY",
    "IN_THE_FUTURE", "UNKNOWN_COUNTRY", "UNKNOWN_TIME_ZONE",
    # What an address is: on the channel that the call names, on a list, and where this server may post to.
    "INVALID_RECIPIENT", "INVALID_ADDRESS", "INVALID_ENTRY", "PRIVATE_TARGET", "TARGET_ELSEWHERE",
    # How any body is read.
    "BLANK", "CONTROL_CHARACTER", "NUMBER_OUT_OF_RANGE",
    # What is in a file, and how it is mapped to it.
    "BAD_HEADER", "COLUMN_NAME_TOO_LONG", "FILE_EMPTY", "MALFORMED_JSON", "MAP_BAD_CUSTOM_NAME", "MAP_NOT_A_PAIR",
    "MAP_REPEATED_COLUMN", "MAP_TOO_LONG", "MAP_UNKNOWN_FIELD", "NO_HEADER", "NO_KNOWN_COLUMN", "NO_SUCH_COLUMN",
    "TOO_FEW_COLUMNS", "TOO_MANY_COLUMNS", "UNSUPPORTED_ENCODING", "UNSUPPORTED_SEPARATOR",
}
# What is in these depends on the channel, and every channel has fields of its own.
OF_THE_CHANNEL = re.compile(r"^(config|payload|steps\.[0-9]+\.payload)(\.|$)")
# Rules of the same kind under a code that the schema's rules have too.
IN_THESE_WORDS = (
    "is required when ",
    "must name at least 2 different campaigns",
    "must be at most the number of campaigns",
    # Null says nothing, so that a patch of nulls names no field.
    "must name at least 1 of its fields",
)


@schemathesis.check
def what_the_document_allows_is_not_refused_by_its_schema(context, response, case):
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    # The protocol's own refusals are held by its conformance suite.
    if case.operation.path.startswith("/mcp"):
        return
    told = response.json()
    meta = told.get("meta") or {}
    faults = meta.get("fieldErrors") or told.get("details") or [{"code": meta.get("errorCode") or told["code"]}]
    found = [
        fault
        for fault in faults
        if fault["code"] not in BEYOND_THE_SCHEMA
        and not fault.get("message", "").startswith(IN_THESE_WORDS)
        and not OF_THE_CHANNEL.match(fault.get("path", ""))
    ]
    assert not found, f"refused by the schema: {found}"
