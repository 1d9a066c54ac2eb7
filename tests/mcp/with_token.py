"""Puts a token into every request: the conformance suite knows no tokens, and the server knows no requests without.

usage: with_token.py HOST:PORT TOKEN; prints the port that it listens on.
"""

import asyncio
import sys

HEAD_MAX = 64 * 1024


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def serve(client, answer, upstream, token):
    """One request per connection: its head gets two lines more, everything else passes as it is."""
    try:
        head = await client.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")[:-2]
        kept = [line for line in lines if not line.lower().startswith(("connection:", "authorization:"))]
        kept += [f"Authorization: Bearer {token}", "Connection: close"]
        host, port = upstream.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(("\r\n".join(kept) + "\r\n\r\n").encode("latin-1"))
        upload = asyncio.create_task(copy(client, writer))
        await copy(reader, answer)
        upload.cancel()
    except (asyncio.IncompleteReadError, ConnectionError):
        answer.close()


async def main(upstream, token):
    server = await asyncio.start_server(
        lambda client, answer: serve(client, answer, upstream, token), "127.0.0.1", 0, limit=HEAD_MAX
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(sys.argv[1], sys.argv[2]))
