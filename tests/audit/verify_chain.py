"""Recomputes the hash chain of one organization from `docket replay`.

    docket replay --organization ID | python3 verify_chain.py

Written from docs/auditing.md alone, with nothing but the standard library. Exit status 0 and the last link if every
event is what was recorded and none is missing between the first and the last; otherwise 1 and what is wrong.
"""

import hashlib
import json
import re
import struct
import sys
import uuid
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LEAF = ("organization_id", "event_id", "command_id", "aggregate_type", "aggregate_id", "sequence", "event_type",
        "event_version", "payload", "metadata", "occurred_at")


def ordered(value):
    """The value with the members of every object in the order of RFC 8785; fractions are not part of the format."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be"))}
    if isinstance(value, list):
        return [ordered(item) for item in value]
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= 2**53):
        raise ValueError(f"{value} is not an integer within 2^53")
    return value


def canonical(value):
    return json.dumps(ordered(value), ensure_ascii=False, separators=(",", ":")).encode()


def milliseconds(instant):
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", instant):
        raise ValueError(f"{instant} is not an instant with three decimals")
    return (datetime.fromisoformat(instant[:-1] + "+00:00") - EPOCH) // timedelta(milliseconds=1)


def verify(lines):
    position, link, organization = 0, None, None
    for line in lines:
        event = json.loads(line)
        if organization is None:
            organization = event["organization_id"]
            link = hashlib.sha256(b"docket/1" + uuid.UUID(organization).bytes).digest()
        position += 1
        if event["organization_id"] != organization:
            raise ValueError(f"position {position} belongs to another organization")
        if event["position"] != position:
            raise ValueError(f"position {position} is missing")
        leaf = hashlib.sha256(b"\0docket/1" + canonical({key: event[key] for key in LEAF})).digest()
        if leaf.hex() != event["leaf"]:
            raise ValueError(f"the event at position {position} is not what was recorded")
        recorded = milliseconds(event["recorded_at"])
        link = hashlib.sha256(b"\1" + link + struct.pack(">qq", position, recorded) + leaf).digest()
        if link.hex() != event["chain"]:
            raise ValueError(f"the chain is broken at position {position}")
    if link is None:
        raise ValueError("there are no events")
    return position, link.hex()


if __name__ == "__main__":
    try:
        print("%d events, chain %s" % verify(sys.stdin.buffer))
    except (ValueError, KeyError) as error:
        sys.exit(f"not verified: {error}")
