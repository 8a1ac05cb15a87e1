"""The arena over time as an SVG: operators from left to right, bytes from the bottom up."""

from __future__ import annotations

import html

from ..emit.plan import Plan

_WIDTH, _HEIGHT, _MARGIN = 900, 420, 60
_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#9c755f")


def arena_picture(plan: Plan) -> str:
    """One rectangle per block of the memory plan, scratch in grey; hovering over it shows its name, bytes and place."""
    arena = plan.memory.arena_bytes
    operators = max(len(plan.layers), 1)
    across, up = (_WIDTH - 2 * _MARGIN) / operators, (_HEIGHT - 2 * _MARGIN) / max(arena, 1)
    base = _HEIGHT - _MARGIN
    shapes = []
    for number, block in enumerate(plan.memory.blocks):
        x, y = _MARGIN + block.first * across, base - (block.offset + block.bytes) * up
        width, height = (block.last - block.first + 1) * across, max(block.bytes * up, 1)
        colour = "#c8ccd0" if block.name.startswith("scratch") else _COLOURS[number % len(_COLOURS)]
        title = html.escape(f"{block.name}: {block.bytes:,} bytes at {block.offset:,}")
        shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" stroke="white"'
            f' fill="{colour}"><title>{title}</title></rect>'
        )
    for layer in plan.layers:
        x = _MARGIN + (layer.index + 0.5) * across
        shapes.append(f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle">{layer.index:02d}</text>')
    caption = html.escape(f"{plan.graph.name}: arena of {arena:,} bytes; operators in the order of execution")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        ' font-family="sans-serif" font-size="11">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        f'<text x="{_MARGIN}" y="{_MARGIN - 24}" font-size="14">{caption}</text>'
        f'<line x1="{_MARGIN}" y1="{base}" x2="{_WIDTH - _MARGIN}" y2="{base}" stroke="#888"/>'
        f'<text x="{_MARGIN - 8}" y="{base}" text-anchor="end">0</text>'
        f'<text x="{_MARGIN - 8}" y="{_MARGIN + 4}" text-anchor="end">{arena:,}</text>'
        f"{''.join(shapes)}</svg>\n"
    )
