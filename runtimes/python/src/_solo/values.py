"""Between JSON and what functions take and return."""

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import pathlib
import types
import uuid


def other(value):
    """What JSON has no word for."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset, collections.deque, range, collections.abc.KeysView, collections.abc.ValuesView, types.GeneratorType)):
        return list(value)
    if isinstance(value, collections.abc.Mapping):
        return dict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath, complex)):
        return str(value)
    if hasattr(value, "to_json") and callable(value.to_json):
        return json.loads(value.to_json())
    raise TypeError(f"a {type(value).__name__} cannot be sent as JSON: answer numbers, texts, lists, dictionaries or data classes")


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=other)


def encode(value):
    """As JSON. No NaN and no infinity: JSON has none."""
    return _encoder.encode(value)


def to_bytes(value):
    """What `handle` answers: bytes as they are, texts as UTF-8, nothing, and the rest as JSON."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return encode(value).encode()
