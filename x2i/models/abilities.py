"""What each ability takes and returns. A backend is any class that fits one of these protocols.

Images are RGB uint8 arrays of shape (height, width, 3); the images of one call may differ in size. Every method takes a
batch and returns one result per image in the same order. Results depend on the arguments alone, not on the batch, the
thread or the calls before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from x2i.models.match import Match
from x2i.reasons import Dropped
from x2i.words import WEB_TEXT

RgbImage = NDArray[np.uint8]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of its image, half-open: 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        return (self.x1 - self.x0) * (self.y1 - self.y0)


@dataclass(frozen=True)
class PageText:
    """What a source says about an image; "" where it says nothing.

    alt: the words in the image index. text_source: whose they are; only those of a web page (x2i.words.WEB_TEXT) are
    alt text, all others were written for their image. file_name: the last part of the image's URL.
    """

    alt: str = ""
    title: str = ""
    figcaption: str = ""
    text_source: str = WEB_TEXT
    file_name: str = ""


@dataclass(frozen=True)
class Caption:
    """A description of an image. source: where the words come from, "alt" for example, or "model".

    prompt_tokens, answer_tokens: what a language model read and wrote for it; 0 for others. finish: why it stopped,
    such as "stop"; "" for others.
    """

    text: str
    source: str
    prompt_tokens: int = 0
    answer_tokens: int = 0
    finish: str = ""


@dataclass(frozen=True)
class Detection:
    """One found object. score: in [0, 1], measured. phrase: what it is, None if the backend cannot say.

    mask_HW: of its image's size, True on the object; None if the backend finds boxes only.
    """

    box: Box
    score: float
    phrase: str | None = None
    mask_HW: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Segment:
    """An object cut out. mask_HW: of its image's size, True on the object.

    score: the segmenter's own estimate of the mask's quality, 0 to 1; None if it makes none.
    """

    mask_HW: NDArray[np.bool_]
    score: float | None = None


@dataclass(frozen=True)
class Pose:
    """One person's keypoints. keypoints_K2: (x, y) in pixels of the image. scores_K: 0 to 1, measured."""

    keypoints_K2: NDArray[np.float32]
    scores_K: NDArray[np.float32]


@dataclass(frozen=True)
class Face:
    """One face. score: in [0, 1], measured.

    landmarks_52: (x, y) in pixels of the image of the right eye, the left eye, the tip of the nose, the right and the
    left corner of the mouth; right and left are the person's own.
    """

    box: Box
    score: float
    landmarks_52: NDArray[np.float32]


@dataclass(frozen=True)
class TextLine:
    """One line of text. polygon_42: its corners (x, y) in pixels, clockwise from the text's top left.

    score: in [0, 1], how sure the reader is of `text`.
    """

    polygon_42: NDArray[np.float32]
    text: str
    score: float


@dataclass(frozen=True)
class Language:
    """What language a text is in. code: of ISO 639, such as "en". probability: 0 to 1."""

    code: str
    probability: float


class ImageEmbedder(Protocol):
    """Turns images into vectors whose dot product says how alike they look."""

    dimensions: int

    def embed(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Returns embeddings_ND: one L2-normalized row of `dimensions` numbers per image."""
        ...


class ImageTextScorer(Protocol):
    """Says how well a text describes an image."""

    def score(self, images: Sequence[RgbImage], texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns scores_N: the cosine of image and text embedding, -1 to 1, of each image with the text beside it."""
        ...


class ImageClassifier(Protocol):
    """Says which of its labels an image has."""

    labels: Sequence[str]

    def classify(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Returns probabilities_NC, 0 to 1, of each label in each image. They add up to 1 if one excludes another."""
        ...


class DepthEstimator(Protocol):
    """Estimates how far away each pixel is."""

    def depth(self, images: Sequence[RgbImage]) -> list[NDArray[np.float32]]:
        """Returns an inverse depth map_HW of each image's size: larger is nearer; unit and offset are the model's."""
        ...


class NormalEstimator(Protocol):
    """Estimates which way the surface at each pixel faces."""

    def normals(self, images: Sequence[RgbImage]) -> list[NDArray[np.float32]]:
        """Returns a map_HW3 of each image's size: vectors of length 1; the directions of x, y and z are the model's."""
        ...


class PoseEstimator(Protocol):
    """Finds the joints of people. names: of its keypoints. limbs: pairs of keypoint numbers that are joined."""

    names: Sequence[str]
    limbs: Sequence[tuple[int, int]]

    def poses(self, images: Sequence[RgbImage], people: Sequence[Sequence[Box]]) -> list[list[Pose]]:
        """Returns a pose for each of the people of each image, who are given by their boxes."""
        ...


class SemanticSegmenter(Protocol):
    """Says what each pixel shows. labels: of its classes, by number."""

    labels: Sequence[str]

    def classes(self, images: Sequence[RgbImage]) -> list[NDArray[np.int64]]:
        """Returns a map_HW of class numbers of each image's size; -1 where the model says nothing."""
        ...


class Matter(Protocol):
    """Estimates how much of each pixel is the object's."""

    def alphas(self, images: Sequence[RgbImage], trimaps: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Returns an alpha_HW, 0 to 1, for each image and its trimap_HW: 255 object, 0 not, 128 to be found out."""
        ...


class Captioner(Protocol):
    """Says in words what an image shows. needs_pixels (of its backend): False if text is enough."""

    def caption(self, images: Sequence[RgbImage], texts: Sequence[PageText]) -> Sequence[Caption | Dropped | None]:
        """Returns a caption per image, None where there is nothing to say, or why the answer is of no use.

        `images` are empty arrays unless needs_pixels.
        """
        ...


class Detector(Protocol):
    """Finds objects. needs_phrases (of its backend): True if it finds only what it is told to look for."""

    def detect(self, images: Sequence[RgbImage], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns the objects of each image, best score first; an empty list where there are none.

        phrases: for each image what to look for, such as "red car". A detection's phrase is one of them. Detectors
        that find objects by themselves ignore them.
        """
        ...


class FaceDetector(Protocol):
    """Finds faces."""

    def faces(self, images: Sequence[RgbImage]) -> list[list[Face]]:
        """Returns the faces of each image, best score first."""
        ...


class FaceEmbedder(Protocol):
    """Turns faces into vectors whose dot product says whether they are one person's."""

    dimensions: int

    def embed_faces(self, images: Sequence[RgbImage], faces: Sequence[Sequence[Face]]) -> list[NDArray[np.float32]]:
        """Returns vectors_FD for each image: one L2-normalized row of `dimensions` numbers per face."""
        ...


class TextDetector(Protocol):
    """Finds and reads the text in images."""

    def read(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns the lines of text of each image that could be read, from top to bottom."""
        ...


class LanguageDetector(Protocol):
    """Tells the language of texts."""

    def languages(self, texts: Sequence[str]) -> list[Language]:
        """Returns the likeliest language of each text."""
        ...


class PhraseExtractor(Protocol):
    """Finds the things that captions name."""

    def phrases(self, captions: Sequence[str]) -> list[list[str]]:
        """Returns the noun phrases of each caption, in its order, without articles, each once."""
        ...


class Segmenter(Protocol):
    """Cuts out the object inside a box."""

    def segment(self, images: Sequence[RgbImage], boxes: Sequence[Sequence[Box]]) -> list[list[Segment | None]]:
        """Returns what each box of each image holds; None where no object could be cut out."""
        ...


class InstanceMatcher(Protocol):
    """Decides with geometry whether two images show the same thing. The features are the backend's own kind."""

    def features(self, images: Sequence[RgbImage]) -> list[Any]:
        """Returns what `match` compares, one per image; it has `descriptors_ND` (uint8) for finding candidates."""
        ...

    def match(self, a: Any, b: Any) -> Match:
        """Returns the agreement of two images. Swapping the arguments swaps the areas and inverts the homography."""
        ...


class EdgeDetector(Protocol):
    """Draws the edges of an image."""

    def edges(self, images: Sequence[RgbImage]) -> list[NDArray[np.uint8]]:
        """Returns an edge map_HW per image: 255 on edges, 0 elsewhere, gray between for soft detectors."""
        ...


class ImageEditor(Protocol):
    """Changes images as it is told. instructions (of its backend): all that it knows, if it takes not any words."""

    def edit(
        self, images: Sequence[RgbImage], instructions: Sequence[str], seeds: Sequence[int]
    ) -> Sequence[RgbImage | Dropped]:
        """Returns each image changed as its instruction says, or why not; seeds: of what it draws at random."""
        ...


@dataclass(frozen=True)
class Tracked:
    """An object in a later frame. mask_HW: of the frame's size, True on it. score: the tracker's own, at most 1."""

    mask_HW: NDArray[np.bool_]
    score: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of the mask in pixels, half-open."""
        rows, columns = np.nonzero(self.mask_HW)
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


class Tracker(Protocol):
    """Follows objects through the frames of a clip."""

    def track(self, frames: Iterable[RgbImage], masks: Sequence[NDArray[np.bool_]]) -> Iterator[list[Tracked | None]]:
        """Yields where each object is in each frame but the first, None where it is lost.

        frames: of one size, read as they are needed. masks: of the objects in the first frame, in its size.
        """
        ...


class Inpainter(Protocol):
    """Fills holes from their surroundings."""

    def inpaint(self, images: Sequence[RgbImage], masks: Sequence[NDArray[np.bool_]]) -> list[RgbImage]:
        """Returns each image with the pixels where its mask_HW is True replaced; the others are untouched."""
        ...
