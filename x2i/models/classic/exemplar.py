"""`classic:exemplar`: inpainting with patches of the same picture, from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage
from x2i.models.backend import Backend
from x2i.options import Option

Mask = NDArray[np.bool_]
Field = NDArray[np.int64]  # of source pixels: (row, column) for each pixel of the hole

PATCH, COMPONENTS = 7, 16
REACH = PATCH // 2
SIDES, ITERATIONS = (40, 80, 160), (4, 2, 1)
MIN_SOURCES, MAX_SOURCES = 50, 6000


@dataclass(frozen=True)
class Exemplar(Backend):
    """Each patch of the hole is made like the known patch that it resembles most, again and again, while the picture
    grows from 40 to 160 pixels (Wexler, Shechtman and Irani, "Space-time completion of video", PAMI 2007); the places
    found there are then copied at full size. Textures stay textures, which diffusion from the border smears.
    """

    title: ClassVar[str] = "Patch-based inpainting; no weights"

    nearness: Annotated[
        float, Option("How much a patch near by is preferred: levels of 255 that the picture's side counts for.", ge=0)
    ] = 60.0

    def inpaint(self, images: Sequence[RgbImage], masks: Sequence[Mask]) -> list[RgbImage]:
        """Returns each image with the masked pixels replaced. Raises ValueError if a mask leaves too little to use."""
        return [self._inpaint(image, mask) for image, mask in zip(images, masks, strict=True)]

    def _inpaint(self, image: RgbImage, mask: Mask) -> RgbImage:
        if mask.shape != image.shape[:2]:
            raise ValueError(f"a mask of shape {image.shape[:2]} is needed, got {mask.shape}")
        if not mask.any():
            return image.copy()
        field: Field | None = None
        for side, iterations in zip(SIDES, ITERATIONS):
            scale = min(1.0, side / min(image.shape[:2]))
            size = max(PATCH + 2, round(image.shape[1] * scale)), max(PATCH + 2, round(image.shape[0] * scale))
            known = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
            hole = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
            if field is None:
                guess = _peeled(known, hole)
            else:
                guess = _voted(known, hole, _enlarged(field, hole))
            for _ in range(iterations):
                field = self._nearest(guess, hole)
                guess = _voted(known, hole, field)
        assert field is not None
        return _at_full_size(image, mask, field)

    def _nearest(self, guess: NDArray[np.float32], hole: Mask) -> Field:
        """Returns for each pixel whose patch touches the hole the middle of the known patch most like its own."""
        import faiss

        touched, usable = _touched(hole), _usable(hole)
        if usable.sum() < MIN_SOURCES:
            raise ValueError("the mask leaves too little of the picture")
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(guess, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="reflect"), (PATCH, PATCH), (0, 1)
        )
        sources, targets = np.argwhere(usable), np.argwhere(touched)
        sources = sources[:: -(-len(sources) // MAX_SOURCES)]
        source_ND, target_MD = (windows[at[:, 0], at[:, 1]].reshape(len(at), -1) for at in (sources, targets))
        middle_D = source_ND.mean(0)
        _, axes_DD = np.linalg.eigh(np.cov(source_ND, rowvar=False))
        axes_DC = axes_DD[:, -COMPONENTS:].astype(np.float32)
        place = np.float32(self.nearness * PATCH / max(hole.shape))
        features = [
            np.hstack([(values - middle_D) @ axes_DC, at * place]).astype(np.float32)
            for values, at in ((source_ND, sources), (target_MD, targets))
        ]
        index = faiss.IndexFlatL2(features[0].shape[1])
        index.add(features[0])
        _, found = index.search(features[1], 1)
        field = np.moveaxis(np.indices(hole.shape), 0, -1)
        field[touched] = sources[found[:, 0]]
        return field


def _peeled(colors: NDArray[np.float32], hole: Mask) -> NDArray[np.float32]:
    """Returns colors_HWC with the hole filled patch by patch from its border inwards, edges first (Criminisi, Perez and
    Toyama, "Region filling by exemplar-based inpainting", 2004).
    """
    filled, open_, confidence = colors.copy(), hole.copy(), (~hole).astype(np.float32)
    sources = np.argwhere(_usable(hole))
    if len(sources) < MIN_SOURCES:
        raise ValueError("the mask leaves too little of the picture")
    windows = np.lib.stride_tricks.sliding_window_view(colors, (PATCH, PATCH), (0, 1))
    source_NCPP = windows[sources[:, 0] - REACH, sources[:, 1] - REACH]
    source_NPPC = np.ascontiguousarray(source_NCPP.transpose(0, 2, 3, 1))
    height, width = hole.shape
    square = np.ones((PATCH, PATCH), np.float32)
    while open_.any():
        border = open_ & (cv2.erode(open_.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
        gray = np.where(open_, 0, filled.mean(2))
        edges = np.abs(cv2.Laplacian(cv2.GaussianBlur(gray, (3, 3), 0), cv2.CV_32F))
        edges[cv2.dilate(open_.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0] = 0
        trust = cv2.boxFilter(confidence, -1, (PATCH, PATCH), normalize=True, borderType=cv2.BORDER_REFLECT)
        priority = trust * (2 + cv2.filter2D(edges, -1, square / PATCH**2, borderType=cv2.BORDER_REFLECT))
        y, x = np.unravel_index(int(np.argmax(np.where(border, priority, -1))), hole.shape)
        top, left = min(max(y - REACH, 0), height - PATCH), min(max(x - REACH, 0), width - PATCH)
        here = np.s_[top : top + PATCH, left : left + PATCH]
        missing = open_[here]
        weights = np.where(missing, 0, confidence[here])[..., None]
        cost_N = (((source_NPPC - filled[here]) ** 2) * weights).sum((1, 2, 3))
        nearness_N = ((sources - (y, x)) ** 2).sum(1) * (60.0 / max(hole.shape)) ** 2
        best = int(np.argmin(cost_N / max(float(weights.sum()), 1e-6) + nearness_N))
        filled[here] = np.where(missing[..., None], source_NPPC[best], filled[here])
        confidence[here] = np.where(missing, trust[y, x], confidence[here])
        open_[here] = False
    return filled


def _enlarged(field: Field, hole: Mask) -> Field:
    """Returns a field of a smaller picture for one in which `hole` is; the moves stay what they are, in proportion."""
    rows, columns = field.shape[:2]
    move = (field - np.moveaxis(np.indices((rows, columns)), 0, -1)) * np.array(
        [hole.shape[0] / rows, hole.shape[1] / columns]
    )
    move = cv2.resize(move, hole.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return np.moveaxis(np.indices(hole.shape), 0, -1) + np.rint(move).astype(np.int64)


def _touched(hole: Mask) -> Mask:
    return cv2.dilate(hole.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8)) > 0


def _usable(hole: Mask) -> Mask:
    """Returns where a whole patch is known and inside of the picture."""
    frame = np.zeros_like(hole)
    frame[REACH:-REACH, REACH:-REACH] = True
    return frame & ~_touched(hole)


def _voted(colors: NDArray[np.float32], hole: Mask, field: Field, spread_px: float = 1.5) -> NDArray[np.float32]:
    """Returns colors_HWC: each pixel of the hole the mean of what the patches over it say, the nearest the most."""
    height, width = hole.shape
    ys, xs = np.nonzero(hole)
    touched = _touched(hole)
    total, weights = np.zeros((len(ys), 3), np.float32), np.zeros((len(ys), 1), np.float32)
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            y, x = ys - dy, xs - dx  # the middle of a patch over this pixel
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
            from_y, from_x = field[y, x, 0] + dy, field[y, x, 1] + dx
            inside &= touched[y, x] & (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
            weight = np.float32(np.exp(-(dy * dy + dx * dx) / (2 * spread_px**2))) * inside[:, None]
            total += weight * colors[np.clip(from_y, 0, height - 1), np.clip(from_x, 0, width - 1)]
            weights += weight
    result = colors.copy()
    result[ys, xs] = total / np.maximum(weights, 1e-6)
    return result


def _at_full_size(image: RgbImage, mask: Mask, field: Field) -> RgbImage:
    """Returns the image with the hole copied from where the patches of the small picture came from."""
    filled = _voted(image.astype(np.float32), mask, _enlarged(field, mask))
    return np.where(mask[..., None], np.clip(np.rint(filled), 0, 255).astype(np.uint8), image)
