"""The frames family: what moves in a video. An edit by rule, and the next frame of one or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Example, Recipe, Rendered, RgbImage, Source, Table
from x2i.recipes.phrasings.wording import caption_slots, definite, without_place

SAID_SHIFT, SAID_SCALE = 0.08, 1.2
"""Shifts (shares of the sides) and scales below these are not spoken of."""


@dataclass(frozen=True)
class FrameEdit(Recipe):
    """A frame in, a later one out, before a camera that stood still; the words say what moved and how.

    Each pair gives the inverse as well: the later frame in, the opposite words, the earlier frame out.
    """

    name = "frame_edit"
    title = "Frame and what moves to a later frame"
    family = "frames"

    pairs: Annotated[str, Option("Relation of the frame pairs.")] = "frame_pairs"

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.pairs),)

    def query(self, tables: frozenset[str]) -> str:
        fields = "phrase, seconds, still, changed"
        return f"""
            SELECT [before, after] AS keys, '' AS suffix, shift[1]::DOUBLE AS right, shift[2]::DOUBLE AS down,
                   scale::DOUBLE AS scale, {fields} FROM "{self.pairs}"
            UNION ALL
            SELECT [after, before], '-back', -shift[1]::DOUBLE, -shift[2]::DOUBLE, 1 / scale::DOUBLE, {fields}
            FROM "{self.pairs}"
        """

    def requires(self) -> Mapping[str, str]:
        return {"motion_is_known": "trim(coalesce(candidate.phrase, '')) <> ''"}

    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        before, after = (source.pixels for source in sources)
        if before.shape != after.shape:
            return Dropped(Reason.UNSUITABLE_IMAGE, "frames of two sizes")
        shift = (float(metadata["right"]), float(metadata["down"]))
        slots = {"subject": definite(without_place(metadata["phrase"])), **motion(shift, float(metadata["scale"]))}
        parameters = {"shift": [round(part, 4) for part in shift], "scale": round(float(metadata["scale"]), 4)}
        parameters |= {"phrase": metadata["phrase"], "seconds": metadata["seconds"]}
        scores = {f"{self.pairs}.{name}": metadata[name] for name in ("still", "changed")}
        return Rendered((before,), after, slots, parameters, scores)

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        moved = np.ascontiguousarray(np.roll(photographs[0], photographs[0].shape[1] // 5, axis=1))
        row = {"right": 0.2, "down": 0.0, "scale": 1.0, "phrase": "the red thing on the left"}
        row |= {"seconds": 1.0, "still": 0.7, "changed": 0.2}
        return Example((Source(photographs[0]), Source(moved)), row)


def motion(shift: Sequence[float], scale: float) -> dict[str, str | None]:
    """Returns the slots that say how an object moves: `direction`, or `nearer` where it rather changes its size."""
    size = abs(np.log(scale)) / np.log(SAID_SCALE)
    if size >= max(abs(shift[0]), abs(shift[1])) / SAID_SHIFT:
        return {"direction": None, "nearer": "closer to the camera" if scale > 1 else "farther away from the camera"}
    words = []
    if abs(shift[0]) >= SAID_SHIFT:
        words.append("to the right" if shift[0] > 0 else "to the left")
    if abs(shift[1]) >= SAID_SHIFT:
        words.append("down" if shift[1] > 0 else "up")
    return {"direction": " and ".join(words) or "a little", "nearer": None}


@dataclass(frozen=True)
class NextFrame(Recipe):
    """A frame of a clip in, the next stored one out, with its caption where it has one.

    Frames that hardly differ are left out, and those that differ altogether.
    """

    name = "next_frame"
    title = "Frame of a video to the next one"
    family = "frames"
    mirrorable = True

    captions: Annotated[str, Option("Column of the captions.")] = "captions"
    longest: Annotated[float, Option("Seconds between two frames at most.", gt=0)] = 5.0
    difference: Annotated[
        tuple[float, float], Option("Mean difference of two frames in levels, 0 to 255; others are left out.", ge=0)
    ] = (2.0, 60.0)

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.captions, optional=True),)

    def query(self, tables: frozenset[str]) -> str:
        caption, join = "NULL::VARCHAR", ""
        if self.captions in tables:
            caption, join = "words.caption", f'LEFT JOIN "{self.captions}" AS words ON words.key = frames.key'
        earlier = list(range(self.num_inputs, 0, -1))
        lags = ", ".join(f"lag(key, {step}) OVER clip AS key_{step}" for step in earlier)
        keys = ", ".join(f"key_{step}" for step in earlier)
        return f"""
            SELECT [{keys}, frames.key] AS keys, {caption} AS caption, frames.seconds - first_seconds AS seconds
            FROM (
                SELECT key, seconds, {lags}, lag(seconds, {self.num_inputs}) OVER clip AS first_seconds FROM (
                    SELECT key, split_part(url, '#', 1) AS video, extra->>'clip' AS clip_number,
                           (extra->>'seconds')::DOUBLE AS seconds
                    FROM images WHERE extra->>'video' IS NOT NULL
                ) WINDOW clip AS (PARTITION BY video, clip_number ORDER BY seconds, key)
            ) AS frames {join}
            WHERE key_{self.num_inputs} IS NOT NULL
              AND frames.seconds - first_seconds <= {self.longest * self.num_inputs}
        """

    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        *inputs, target = (source.pixels for source in sources)
        if any(image.shape != target.shape for image in inputs):
            return Dropped(Reason.UNSUITABLE_IMAGE, "frames of two sizes")
        for one, other in zip([*inputs], [*inputs[1:], target]):
            found = float(np.abs(one.astype(np.int16) - other).mean())
            if not self.difference[0] <= found <= self.difference[1]:
                return Dropped(Reason.UNSUITABLE_IMAGE, f"frames that differ by {found:.1f} levels")
        parameters = {"seconds": round(float(metadata["seconds"]), 3)}
        return Rendered(tuple(inputs), target, caption_slots(metadata.get("caption")), parameters)

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        step = max(1, photographs[0].shape[1] // 40)
        frames = [np.ascontiguousarray(np.roll(photographs[0], step * k, axis=1)) for k in range(self.num_inputs + 1)]
        return Example(tuple(map(Source, frames)), {"caption": "A thing in another place.", "seconds": 1.0})


@dataclass(frozen=True)
class ThirdFrame(NextFrame):
    """Two frames in their order in, the next one out: the motion is given by the two."""

    name = "third_frame"
    title = "Two frames of a video to the third one"
    image_slots = ("image_1", "image_2")
    phrasings = {"family": False} | {
        "requires": ["image_1", "image_2"],
        "prefers": ["caption|sentence|scene"],
        "phrasings": [
            "{image_1} {image_2} What comes next? {caption}",
            "{image_1}, then {image_2}. Then this: {caption}",
            "After {image_1} and {image_2}, show {scene}.",
            "{sentence} This follows {image_1} and {image_2}.",
            "{sentence} It is the third picture after {image_1} and {image_2}.",
            "Step 1: {image_1}. Step 2: {image_2}. Step 3: {caption}",
            "The first frame is {image_1}, the second {image_2}. Draw the third: {caption}",
            "Continue the sequence {image_1}, {image_2}. {caption}",
            "Go on from {image_1} and {image_2} to this: {caption}",
            "Frames: {image_1}, {image_2}. Next frame: {caption}",
            "Given the frames {image_1} and {image_2}, draw {scene} as it goes on.",
            "You saw {image_1}, then {image_2}. Now show {scene}.",
            "Follow the motion from {image_1} to {image_2} one step further. {caption}",
            "The story so far: {image_1} {image_2} The next picture: {caption}",
            "Extend {image_1} and {image_2} by a third frame. {caption}",
            "Please continue {image_1} and {image_2} with a picture of {scene}.",
            "From {image_1} over {image_2} to the next moment: {caption}",
            "Watch what happens between {image_1} and {image_2} and let it go on. {caption}",
            "Two moments: {image_1}, {image_2}. The moment after them: {caption}",
            "Predict the frame after {image_1} and {image_2}. It is described like this: {caption}",
            "{image_1} {image_2} What comes next?",
            "{image_1}, then {image_2}. Show the next frame.",
            "Continue the sequence {image_1}, {image_2}.",
            "Predict the frame after {image_1} and {image_2}.",
            "Draw the third picture of the sequence {image_1}, {image_2}.",
            "Follow the motion from {image_1} to {image_2} one step further.",
            "What will be seen a moment after {image_2}, given that {image_1} came before it?",
            "Step 1: {image_1}. Step 2: {image_2}. Draw step 3.",
            "Extend {image_1} and {image_2} by a third frame.",
            "Let what happens between {image_1} and {image_2} go on.",
        ],
    }
