"""Inputs for fuzzing: sound files with something done to them, and JSON with something else in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

_WORDS = [b"", b"\x00", b"\xff", b"\r", b"\n", b'"', b",", b"-1", b"nan", b"1e999", b"../", b"\xef\xbb\xbf", b"9" * 30]


@st.composite
def spoiled(draw: st.DrawFn, sound: Sequence[bytes]) -> bytes:
    """One of the sound inputs, with up to four edits: bytes replaced, cut out, put in, doubled, or the end lost."""
    data = draw(st.sampled_from(sound))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 40))
        kind = draw(st.sampled_from(["replace", "cut", "insert", "double", "end"]))
        if kind == "replace":
            new = draw(st.binary(min_size=1, max_size=4))
            data = data[:place] + new + data[place + len(new) :]
        elif kind == "cut":
            data = data[:place] + data[place + length :]
        elif kind == "insert":
            data = data[:place] + draw(st.sampled_from(_WORDS) | st.binary(max_size=20)) + data[place:]
        elif kind == "double":
            data = data[: place + length] + data[place:]
        else:
            data = data[:place]
    return data


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def json_like(draw: st.DrawFn, sound: Sequence[dict[str, Any]]) -> bytes:
    """One of the sound objects, with up to three values at any depth replaced or left out."""
    found = json.loads(json.dumps(draw(st.sampled_from(sound))))
    for _ in range(draw(st.integers(0, 3))):
        inside: Any = found
        while isinstance(inside, dict | list) and len(inside):
            key = draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
            if not isinstance(inside[key], dict | list) or not len(inside[key]) or draw(st.booleans()):
                if draw(st.booleans()):
                    inside[key] = draw(_VALUES)
                else:
                    del inside[key]
                break
            inside = inside[key]
    return json.dumps(found).encode()
