"""A whole story by a client that nobody here wrote: the Python SDK of the protocol.

usage: story.py http URL  |  story.py stdio COMMAND ARGUMENT...
with DOCKET_ORG, DOCKET_TOKEN and DOCKET_CAMPAIGN as `docket demo` writes them. It is told twice: in the newest revision
of the protocol, and with the handshake of the one before.
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client, MCPError, StdioServerParameters, types
from mcp.client.streamable_http import streamable_http_client

ORGANIZATION = os.environ["DOCKET_ORG"]
TOKEN = os.environ["DOCKET_TOKEN"]
CAMPAIGN = os.environ["DOCKET_CAMPAIGN"]
ADD = "bulk_add_contacts_to_campaign_by_filter"
REMOVE = "bulk_remove_contacts_from_campaign"
REVISIONS = {"auto": "2026-07-28", "legacy": "2025-11-25"}


class Person:
    """Whoever sits before the client and is asked."""

    def __init__(self):
        self.says = types.ElicitResult(action="decline")
        self.questions = []

    async def __call__(self, context, params):
        self.questions.append(params.message)
        return self.says


def told(result):
    """The envelope of a result, which stands in it twice."""
    envelope = result.structured_content
    assert json.loads(result.content[0].text) == envelope
    assert result.is_error is not envelope["success"], envelope
    return envelope


def body(given, **more):
    return {"organizationId": ORGANIZATION, "input": given, **more}


async def story(client, person):
    names = [tool.name for tool in (await client.list_tools()).tools]
    assert names[0] == "crm_resolve_workspace" and len(set(names)) == len(names)

    found = told(await client.call_tool("crm_resolve_workspace", {"input": {"query": "Traboule"}}))
    assert ORGANIZATION in [match["organizationId"] for match in found["data"]["matches"]], found

    made = told(await client.call_tool("create_outbound_campaign", body({"name": "Story", "status": "active"})))
    campaign = made["data"]["campaign"]["campaignId"]

    # Shown first, applied with the token of what was shown, with the steps told on the way.
    given = {"campaignId": campaign, "filter": {"source": "crm", "city": "Lyon"}, "maxContacts": 200}
    shown = told(await client.call_tool(ADD, body({**given, "dryRun": True})))
    assert shown["data"]["dryRun"] and shown["data"]["applied"] > 0, shown
    steps = []

    async def step(progress, total, message):
        steps.append(progress)

    token = shown["meta"]["previewToken"]
    applied = told(await client.call_tool(ADD, body({**given, "previewToken": token}), progress_callback=step))
    changed = {"dryRun", "position"}
    assert {k: v for k, v in applied["data"].items() if k not in changed} == {
        k: v for k, v in shown["data"].items() if k not in changed
    }
    assert steps == sorted(steps) and steps[-1:] == [3.0], steps

    overlap = told(
        await client.call_tool("get_campaign_contact_overlap", body({"campaignIds": [campaign, CAMPAIGN]}))
    )
    totals = {one["campaignId"]: one["total"] for one in overlap["data"]["campaigns"]}
    assert totals[campaign] == applied["data"]["applied"], overlap

    # What is wrong with an input is for the model to read; what is wrong with a request is for the client.
    refused = told(await client.call_tool("list_campaigns", body({"limit": 1000})))
    assert refused["meta"]["fieldErrors"][0]["code"] == "TOO_LARGE" and refused["meta"]["hint"], refused
    try:
        await client.call_tool("no_such_tool", {})
        raise AssertionError("a tool that does not exist was called")
    except MCPError as error:
        assert error.error.code == -32602, error

    # A person is asked, says no, and then yes.
    everybody = body({"campaignId": campaign, "filter": {}})
    declined = told(await client.call_tool(REMOVE, everybody))
    assert declined["data"]["dryRun"], declined
    assert "NOT_CONFIRMED" in [warning["code"] for warning in declined["meta"]["warnings"]], declined
    person.says = types.ElicitResult(action="accept", content={"confirm": True})
    removed = told(await client.call_tool(REMOVE, everybody))
    assert not removed["data"]["dryRun"] and removed["data"]["applied"] == applied["data"]["applied"], removed
    assert len(person.questions) == 2 and str(removed["data"]["applied"]) in person.questions[0]

    told(await client.call_tool(
        "update_outbound_campaign", body({"campaignId": campaign, "patch": {"status": "archived"}})
    ))


async def main(transport, *rest):
    for mode, revision in REVISIONS.items():
        person = Person()
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http:
            if transport == "http":
                server = streamable_http_client(rest[0], http_client=http)
            else:
                server = StdioServerParameters(command=rest[0], args=list(rest[1:]), env=dict(os.environ))
            async with Client(server, mode=mode, elicitation_callback=person, read_timeout_seconds=60) as client:
                spoken = client.session.protocol_version
                assert spoken == revision, spoken
                await story(client, person)
        print(f"{transport}, revision {revision}: the story holds", flush=True)


asyncio.run(main(*sys.argv[1:]))
