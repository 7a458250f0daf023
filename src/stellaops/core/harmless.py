"""Texts of others on a terminal: what would steer it is shown as what it is, and steers nothing."""

from __future__ import annotations

import re

_C0, _C1 = r"\x00-\x1f", r"\x7f-\x9f"
_TURNING = r"\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Line and paragraph separators, and what turns the direction of writing round."""
_ALONE = r"\ud800-\udfff"
"""Halves of pairs, and bytes of file names that are no UTF-8: no terminal takes them."""
_STEERING = re.compile(f"[{_C0}{_C1}{_TURNING}{_ALONE}]")
_RAW_IN_JSON = re.compile(f"[{_C1}{_TURNING}{_ALONE}]")
_USUAL = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def line(text: str) -> str:
    r"""A text as one line: control characters as `\x1b`, line breaks as `\n`, changes of direction as `\u202e`."""
    return _STEERING.sub(_shown, text)


def json_text(text: str) -> str:
    """JSON with the same value, in which the characters that JSON lets stand as they are stand escaped."""
    return _RAW_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def steers(text: str) -> bool:
    """Whether a text of several lines would do more than stand on a terminal."""
    return any(_STEERING.search(each) for each in text.split("\n"))


def _shown(found: re.Match[str]) -> str:
    number = ord(found[0])
    return _USUAL.get(found[0]) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")
