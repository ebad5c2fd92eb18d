"""A closed-loop load: each client asks, waits for the answer, and asks again. Every answer is kept with its status."""

import asyncio
import time
from dataclasses import dataclass, field

import aiohttp


@dataclass
class Load:
    """What a load saw: (end of the wait as time.monotonic(), seconds waited, "200" or how else it ended)."""

    seen: list[tuple[float, float, str]] = field(default_factory=list)

    def since(self, moment: float) -> "Load":
        """What ended after `moment`: without the warm-up, in which the dispatcher learns."""
        return Load([one for one in self.seen if one[0] >= moment])

    def good(self) -> list[float]:
        """The waits of the answers with 200, ascending, in seconds."""
        return sorted(wait for _, wait, how in self.seen if how == "200")

    def percentile(self, share: float) -> float:
        waits = self.good()
        return waits[min(int(len(waits) * share), len(waits) - 1)] if waits else float("nan")

    def ends(self) -> dict[str, int]:
        return {how: sum(how == one for _, _, one in self.seen) for how in sorted({how for _, _, how in self.seen})}


async def closed_loop(url: str, *, clients: int, seconds: float, texts: int = 1, characters: int = 0) -> Load:
    """Let `clients` ask for `seconds`, each with `texts` texts a request that nobody asked before, of that length.

    aiohttp, not httpx: with 80 clients httpx takes so much of two cores that they serve 73 texts/s in place of 164.
    """
    load, end = Load(), time.monotonic() + seconds
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(
            *(_one(client, url, f"client {number}", end, texts, load, characters) for number in range(clients))
        )
    return load


async def _one(
    client: aiohttp.ClientSession, url: str, name: str, end: float, texts: int, load: Load, characters: int
) -> None:
    asked = 0
    while time.monotonic() < end:
        asked += 1
        began = time.monotonic()
        some = (f"{name}: my parcel is late, {asked} of {index}" for index in range(texts))
        how = await _ask(client, url, [as_long(text, characters) for text in some])
        load.seen.append((time.monotonic(), time.monotonic() - began, how))
        if how == "refused":  # nobody listens any more: do not spin
            return


def as_long(text: str, characters: int) -> str:
    """Again and again, until it has so many characters; as it is without a number."""
    return (f"{text}, " * (characters // len(text) + 1))[:characters].strip() if characters else text


async def _ask(client: aiohttp.ClientSession, url: str, texts: list[str]) -> str:
    try:
        async with client.post(f"{url}/classify", json={"texts": texts}) as response:
            await response.read()
            return str(response.status)
    except aiohttp.ClientConnectorError:
        return "refused"
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__
