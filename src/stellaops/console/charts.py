"""Pictures of numbers as SVG: no script draws them, and each says in words what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

_WIDE, _HIGH = 640, 160
_LEFT, _BOTTOM = 34, 18
_BOX_WIDE, _BOX_HIGH = 190, 46


def stacked(
    columns: Sequence[tuple[str, Mapping[str, float]]], kinds: Sequence[str], *, title: str
) -> Markup:
    """Stacked columns.

    Args:
        columns: label and amount by kind, from left to right.
        kinds: from the bottom up; each is a class of the style sheet.
    """
    highest = max((sum(amounts.values()) for _, amounts in columns), default=0) or 1
    step = (_WIDE - _LEFT) / max(1, len(columns))
    scale = (_HIGH - _BOTTOM - 8) / highest
    parts = [_grid(highest)]
    for place, (label, amounts) in enumerate(columns):
        left, top = _LEFT + place * step, float(_HIGH - _BOTTOM)
        told = ", ".join(f"{amounts[kind]:.0f} {kind}" for kind in kinds if amounts.get(kind)) or "none"
        bars = []
        for kind in kinds:
            height = amounts.get(kind, 0) * scale
            top -= height
            if height > 0:
                bars.append(
                    Markup(
                        '<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                    ).format(kind, left + step * 0.12, top, step * 0.76, height)
                )
        parts.append(Markup("<g><title>{}: {}</title>{}</g>").format(label, told, Markup("").join(bars)))
        if place % max(1, len(columns) // 8) == 0:
            parts.append(
                Markup('<text x="{:.1f}" y="{}" class="axis">{}</text>').format(
                    left + step * 0.12, _HIGH - 4, label
                )
            )
    return _picture(title, _WIDE, _HIGH, parts)


def _grid(highest: float) -> Markup:
    lines = []
    for share in (0, 0.5, 1):
        y = _HIGH - _BOTTOM - share * (_HIGH - _BOTTOM - 8)
        lines.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text class="axis" x="2" y="{:.1f}">{}</text>'
            ).format(_LEFT, _WIDE, y, y, y + 4, _plain(highest * share))
        )
    return Markup("").join(lines)


def _plain(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit * 10:
            return f"{value / unit:.0f}{name}"
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def meter(value: float, limit: float, *, title: str) -> Markup:
    """How much of something is used."""
    share = min(1.0, value / limit) if limit > 0 else 0.0
    kind = "bad" if share > 0.9 else "warn" if share > 0.8 else "good"
    return Markup(
        '<svg class="meter" viewBox="0 0 100 6" role="img" preserveAspectRatio="none"><title>{}</title>'
        '<rect class="track" width="100" height="6" rx="3"/><rect class="{}" width="{:.1f}" height="6" rx="3"/></svg>'
    ).format(title, kind, share * 100)


def spark(values: Sequence[float], *, title: str) -> Markup:
    """A line without axes."""
    if not values:
        return Markup("")
    highest, step = max(values) or 1, 120 / max(1, len(values) - 1)
    points = " ".join(
        f"{place * step:.1f},{26 - value / highest * 24:.1f}" for place, value in enumerate(values)
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 120 28" role="img"><title>{}</title><polyline points="{}"/></svg>'
    ).format(title, points)


def flow(columns: Sequence[tuple[str, Sequence[tuple[str, str]]]], *, title: str) -> Markup:
    """Boxes in columns, each column leading to the next.

    Args:
        columns: heading, and name and remark of each box.
    """
    wide, high, gap = _BOX_WIDE, _BOX_HIGH, 60
    tallest = max((len(boxes) for _, boxes in columns), default=1) or 1
    whole_high = 30 + tallest * (high + 12)
    whole_wide = len(columns) * (wide + gap) - gap
    parts: list[Markup] = []
    middle = 30 + (whole_high - 30) / 2 - 6
    for number, (heading, boxes) in enumerate(columns):
        left = number * (wide + gap)
        parts.append(Markup('<text class="heading" x="{}" y="16">{}</text>').format(left, heading))
        first = middle - (len(boxes) * (high + 12) - 12) / 2
        for place, (name, remark) in enumerate(boxes):
            top = first + place * (high + 12)
            centre = top + high / 2
            if number:
                parts.append(_edge(left - gap / 2, middle, left, centre))
            if number < len(columns) - 1:
                parts.append(_edge(left + wide, centre, left + wide + gap / 2, middle))
            parts.append(_box(left, top, name, remark))
    return _picture(title, whole_wide, whole_high, parts, "flow")


def _box(left: float, top: float, name: str, remark: str) -> Markup:
    frame = Markup('<rect class="box" x="{}" y="{:.1f}" width="{}" height="{}" rx="6"/>')
    text = Markup('<text class="{}" x="{}" y="{:.1f}">{}</text>')
    return Markup("<g><title>{} {}</title>{}{}{}</g>").format(
        name,
        remark,
        frame.format(left, top, _BOX_WIDE, _BOX_HIGH),
        text.format("name", left + 10, top + 19, _cut(name, 24)),
        text.format("remark", left + 10, top + 36, _cut(remark, 28)),
    )


def _edge(x1: float, y1: float, x2: float, y2: float) -> Markup:
    bend = (x1 + x2) / 2
    return Markup(
        '<path class="edge" d="M{:.1f} {:.1f} C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}"/>'
    ).format(x1, y1, bend, y1, bend, y2, x2, y2)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _picture(title: str, wide: float, high: float, parts: Sequence[Markup], kind: str = "chart") -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {:.0f} {:.0f}" role="img"><title>{}</title>{}</svg>').format(
        kind, wide, high, escape(title), Markup("").join(parts)
    )
