"""Bars as SVG, so that a plot needs no library."""

from xml.sax.saxutils import escape

COLOURS = {"bare client": "#8c8c8c", "penstock": "#d1495b"}
PEER_COLOURS = ("#30638e", "#edae49", "#66a182", "#7d5ba6")
WIDTH, LABEL, BAR, GAP, TITLE = 760, 150, 18, 6, 34
NUMBER = 110  # room for the figure behind the longest bar


def draw(panels):
    """panels: [(title, {name: value})]; each has its own scale, which begins at 0."""
    peers = [name for name in dict.fromkeys(n for _, bars in panels for n in bars)
             if name not in COLOURS]
    colours = COLOURS | dict(zip(peers, PEER_COLOURS))
    parts, top = [], 10
    for title, bars in panels:
        parts.append(f'<text x="10" y="{top + 18}" font-weight="bold">{escape(title)}</text>')
        top += TITLE
        longest = max(bars.values()) or 1
        for name, value in bars.items():
            length = max(1, value / longest * (WIDTH - LABEL - NUMBER))
            middle = top + BAR - 5
            parts.append(f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>'
                         f'<rect x="{LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" '
                         f'fill="{colours[name]}"/>'
                         f'<text x="{LABEL + length + 6:.1f}" y="{middle}">{value:,.4g}</text>')
            top += BAR + GAP
        top += 8
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
            f'font-family="sans-serif" font-size="13">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")
