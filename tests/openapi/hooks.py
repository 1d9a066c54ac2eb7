"""Puts ids that exist where the generator has made up ids, so that its calls get past the question of what exists.

What is not an id is left as it was made up: those are the calls that must be refused.
"""

import os
import re

import schemathesis

ORGANIZATION = os.environ["DOCKET_ORG"]
CAMPAIGNS = [os.environ["DOCKET_CAMPAIGN"], os.environ["DOCKET_OTHER_CAMPAIGN"]]
ID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")


def is_id(value):
    return isinstance(value, str) and ID.match(value) is not None


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    # An organization that a call may switch off must not be the one that all others are about.
    if path_parameters and is_id(path_parameters.get("companyId")):
        path_parameters["companyId"] = ORGANIZATION
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    if query and is_id(query.get("organizationId")):
        query["organizationId"] = ORGANIZATION
    return query


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict):
        if is_id(body.get("organizationId")):
            body["organizationId"] = ORGANIZATION
        for place in (body, body.get("input")):
            if isinstance(place, dict) and is_id(place.get("campaignId")):
                place["campaignId"] = CAMPAIGNS[len(place["campaignId"]) % 2]
    return body


@schemathesis.hook
def before_call(context, case, kwargs):
    """A name of the request in both places is one name."""
    headers = case.headers or {}
    if "Idempotency-Key" in headers and isinstance(case.body, dict) and case.body.get("requestId") is not None:
        if is_id(headers["Idempotency-Key"]):
            del headers["Idempotency-Key"]


# The codes of refusals that come from the schema itself.
OF_THE_SCHEMA = {
    "REQUIRED", "WRONG_TYPE", "NOT_ONE_OF", "TOO_SMALL", "TOO_LARGE", "TOO_SHORT", "TOO_LONG", "TOO_FEW_ITEMS",
    "TOO_MANY_ITEMS", "WRONG_FORMAT", "UNKNOWN_FIELD",
}


@schemathesis.check
def what_the_document_allows_is_not_refused_by_its_schema(context, response, case):
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or response.status_code != 400:
        return
    if not response.headers.get("content-type", [""])[0].startswith("application/json"):
        return
    told = response.json()
    faults = (told.get("meta") or {}).get("fieldErrors") or told.get("details") or []
    # A field may also be required by the value of another one, which is said in other words; and null says nothing, so
    # that a patch of nulls names no field.
    found = [
        fault
        for fault in faults
        if isinstance(fault, dict)
        and fault.get("code") in OF_THE_SCHEMA
        and (fault["code"] != "REQUIRED" or fault["message"] == "is required")
        and fault["message"] != "must name at least 1 of its fields"
    ]
    assert not found, f"refused by the schema: {found}"
