"""A service in Python: functions without an underscore can be called."""

import asyncio
from collections import Counter

import solo
from lib import plain

seen = 0


def count(text: str) -> dict[str, int]:
    """How often each word is there."""
    global seen
    seen += 1
    print("counting", len(text), "characters")
    return Counter(plain.words(text))


async def patient(text: str, seconds: float = 0.01) -> str:
    await asyncio.sleep(seconds)
    return text.title()


def keep(key: str, text: str) -> None:
    solo.kv.set(key, text)


def kept(key: str) -> str | None:
    return solo.kv.get(key)


def ask(service: str, function: str, *arguments):
    return solo.call(service, function, arguments)


def fail(what: str):
    raise ValueError(f"{what} is too much")
