"""Inputs made odd: bytes that are turned, JSON whose values are replaced by what nobody expects."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

_NUMBERS = (
    0,
    -1,
    1,
    2,
    7,
    2**31,
    2**40,
    2**63,
    -(2**63),
    10**30,
    10**400,
    1.5,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
)
_TEXTS = (
    "", " ", "abc", "0", "-1", "1e999", "\0", "\x1b[2J", "\u202e", "\ud800", "é" * 300, "x" * 20_000, "a/b", "../../etc/passwd",
    "None", "true", "full_attention", "bfloat16", "NaN", "2026-13-45", "%s{0}", "'; DROP TABLE findings; --", "$(id)",
)  # fmt: skip
_PIECES = (
    b"\0", b"\xff", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x80\0\0\0\0\0\0\0", b"\n", b"\r", b'"', b"\\", b"{", b"[", b"}", b"]", b",",
    b":", b"-", b"9" * 40, b"1e400", b"\x1b[2J", b"\xed\xa0\x80", b"null", b"[" * 300, b"&a [*a]", b"\xef\xbb\xbf",
)  # fmt: skip

Mutation = Callable[[Random, bytes], bytes]


def turned_bytes(random: Random, data: bytes) -> bytes:
    """Change, insert, remove, double or cut a few places."""
    text = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at, length = random.randrange(len(text) + 1), random.choice((1, 1, 2, 4, 8, 64, 1000))
        match random.randrange(6):
            case 0:
                text[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                text[at : at + random.choice((0, length))] = random.choice(_PIECES)
            case 2:
                del text[at : at + length]
            case 3:
                text[at:at] = text[at : at + length] * random.choice((1, 2, 50))
            case 4:
                other = random.randrange(len(text) + 1)
                text[at : at + length] = text[other : other + length]
            case _:
                if random.random() < 0.2:
                    del text[at:]
    return bytes(text)


def turned_json(random: Random, data: bytes) -> bytes:
    """Replace, remove, wrap or repeat values anywhere in a JSON text; now and then turn its bytes too."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return turned_bytes(random, data)
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        content = _turned(random, content)
    try:
        text = json.dumps(content, ensure_ascii=random.random() < 0.5).encode(errors="surrogatepass")
    except RecursionError:
        return turned_bytes(random, data)
    return turned_bytes(random, text) if random.random() < 0.1 else text


def turned_lines(random: Random, data: bytes) -> bytes:
    """Turn one line of JSON lines."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    lines[at] = turned_json(random, lines[at])
    return b"\n".join(lines)


def _turned(random: Random, content: Any) -> Any:
    places = list(_places(content))
    if not places or random.random() < 0.02:
        return odd(random, content)
    holder, key = random.choice(places)
    match random.randrange(8):
        case 0:
            del holder[key]
        case 1:
            holder[key] = [holder[key]] * random.choice((1, 2, 5000))
        case 2:
            holder[key] = {str(key): holder[key]}
        case 3 if isinstance(holder, dict):
            holder[random.choice(_TEXTS)] = holder.pop(key)
        case 4:
            other, name = random.choice(places)
            if name in other if isinstance(other, dict) else name < len(other):
                holder[key] = json.loads(json.dumps(other[name]))
        case _:
            holder[key] = odd(random, holder[key])
    return content


def _places(content: Any) -> Sequence[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [content]
    while waiting and len(found) < 5000:
        part = waiting.pop()
        keys = list(part) if isinstance(part, dict) else list(range(len(part))) if isinstance(part, list) else []
        found += [(part, key) for key in keys]
        waiting += [part[key] for key in keys if isinstance(part[key], dict | list)]
    return found


def odd(random: Random, value: Any) -> Any:
    """Something else in a value's place: near it, or of another kind."""
    if isinstance(value, int) and not isinstance(value, bool) and random.random() < 0.5:
        return random.choice(
            (
                value + 1,
                value - 1,
                -value,
                value * 1000,
                value // 2,
                value * 2,
                value + 0.5 if abs(value) < 2**63 else None,
                f"{value:x}",
            )
        )
    deep: Any = "x"
    for _ in range(random.choice((3, 90, 400))):
        deep = [deep]
    return random.choice(
        (
            random.choice(_NUMBERS),
            random.choice(_TEXTS),
            None,
            True,
            False,
            [],
            {},
            deep,
            [1, "a", None],
            {"a": {"b": 1}},
        )
    )
