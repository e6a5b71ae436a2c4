"""The colors and typefaces that sheet, gallery and report share, so that they look like one thing."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Palette:
    """Colors as #rrggbb. `ok`, `filtered` and `failed` always mean the three statuses, nothing else."""

    paper: str
    card: str
    tile: str
    rule: str
    ink: str
    soft: str
    faint: str
    accent: str
    ok: str
    filtered: str
    failed: str
    shadow: str


LIGHT = Palette(
    paper="#faf8f4",
    card="#ffffff",
    tile="#f0ece4",
    rule="#e2dcd0",
    ink="#1f1d1a",
    soft="#5f5a52",
    faint="#8f887c",
    accent="#1d6a72",
    ok="#3c7d5a",
    filtered="#c08a2b",
    failed="#b4472f",
    shadow="#3a332414",
)
DARK = Palette(
    paper="#171613",
    card="#201f1b",
    tile="#2a2823",
    rule="#37342d",
    ink="#efebe2",
    soft="#b9b2a5",
    faint="#857e72",
    accent="#6fbcc4",
    ok="#74b391",
    filtered="#dca94e",
    failed="#e0816a",
    shadow="#00000040",
)
BADGES = ("#2f63a8", "#a8572f", "#6a4b9c", "#2f7f5f", "#9c2f63")
"""Colors of the numbered badges: input image k has BADGES[k - 1], in the thumbnails and in the text alike."""

SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace'


def badge_color(number: int) -> str:
    """Returns the color of input image `number`, counted from 1."""
    return BADGES[(number - 1) % len(BADGES)]


def css_variables() -> str:
    """Returns the palettes as CSS custom properties: light, dark by the reader's system, and either by choice."""
    light, dark = _declarations(LIGHT), _declarations(DARK)
    fonts = f"--sans:{SANS};--mono:{MONO};" + "".join(f"--badge{k}:{c};" for k, c in enumerate(BADGES, start=1))
    return (
        f":root{{color-scheme:light;{fonts}{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
    )


def _declarations(palette: Palette) -> str:
    return "".join(f"--{name}:{value};" for name, value in asdict(palette).items())
