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
    """The head of each request gets a line more; its body and every answer pass as they are."""
    host, port = upstream.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    answers = asyncio.create_task(copy(reader, answer))
    try:
        while True:
            head = (await client.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = [line for line in head.split("\r\n")[:-2] if not line.lower().startswith("authorization:")]
            lengths = [line.split(":", 1)[1] for line in lines if line.lower().startswith("content-length:")]
            lines.append(f"Authorization: Bearer {token}")
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            writer.write(await client.readexactly(int(lengths[0]) if lengths else 0))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
        answers.cancel()


async def main(upstream, token):
    server = await asyncio.start_server(
        lambda client, answer: serve(client, answer, upstream, token), "127.0.0.1", 0, limit=HEAD_MAX
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(sys.argv[1], sys.argv[2]))
