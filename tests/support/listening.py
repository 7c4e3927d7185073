"""How an asyncio server of the tests ends: without a connection that nobody is responsible for."""

import asyncio


async def stop_listening(server: asyncio.Server) -> None:
    """Takes nobody new, lets in whom it is just taking, and closes the server.

    A connection that is accepted when its server closes gets no protocol and is not closed (`Server._attach` refuses
    it): the garbage collector warns of it later, in another test.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    server.close()
