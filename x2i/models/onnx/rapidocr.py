"""`rapidocr`: PP-OCR's detector and reader of text lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.models.abilities import RgbImage, TextDetector, TextLine
from x2i.models.packaged import PackagedBackend
from x2i.options import Option


@dataclass(frozen=True)
class RapidOcr(PackagedBackend):
    """PP-OCRv6 small as the package rapidocr runs it: Chinese, English and other Latin text, printed and in scenes."""

    title: ClassVar[str] = "PP-OCR text detection and recognition by rapidocr"
    extra: ClassVar[str] = "ocr"
    license: ClassVar[str] = "Apache-2.0"
    package: ClassVar[str] = "rapidocr"
    weights: ClassVar[Mapping[str, str]] = {
        "models/PP-OCRv6_det_small.onnx": "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        "models/PP-OCRv6_rec_small.onnx": "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
        "models/ch_ppocr_mobile_v2.0_cls_mobile.onnx": (
            "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"
        ),
    }

    min_score: Annotated[float, Option("Lines that are read with less certainty do not count.", ge=0, le=1)] = 0.5
    short_side: Annotated[
        int, Option("Images are enlarged to a short side of this many pixels, so that small print is found.", ge=32)
    ] = 736

    def load(self) -> TextDetector:
        detector, reader, direction = map(str, self.files())
        threads = "EngineConfig.onnxruntime."
        options = {
            "Global.log_level": "error",
            "Global.text_score": self.min_score,
            "Det.limit_side_len": self.short_side,
            "Det.model_path": detector,
            "Rec.model_path": reader,
            "Cls.model_path": direction,
            f"{threads}intra_op_num_threads": 1,
            f"{threads}inter_op_num_threads": 1,
        }
        return LoadedOcr(self.require("rapidocr").RapidOCR(params=options))


class LoadedOcr:
    def __init__(self, ocr: Any) -> None:
        self._ocr = ocr

    def read(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns the lines of each image, from top to bottom."""
        return [self._lines(self._ocr(np.ascontiguousarray(image[..., ::-1]))) for image in images]

    @staticmethod
    def _lines(found: Any) -> list[TextLine]:
        if found.boxes is None:
            return []
        parts = zip(np.asarray(found.boxes, np.float32), found.txts, found.scores, strict=True)
        return [TextLine(polygon_42, text, float(score)) for polygon_42, text, score in parts]
