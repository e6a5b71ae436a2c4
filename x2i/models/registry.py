"""Which backends there are for each ability, and how a name such as `hf:org/model@revision` becomes one.

A name is a row of the ability's table (`classic:sift`), a family with a model of the user's (`hf:org/model@revision`),
or the import path of a backend from outside (`mypackage.module:Class`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from x2i.errors import UserError
from x2i.models.backend import Backend
from x2i.registry import IMPORT_PATH, Registry
from x2i.settings import from_mapping


class Ability(StrEnum):
    """What a model can do for this project."""

    IMAGE_TEXT_SCORER = "image-text scorer"
    IMAGE_EMBEDDER = "image embedder"
    IMAGE_CLASSIFIER = "image classifier"
    CAPTIONER = "captioner"
    JUDGE = "judge"
    DETECTOR = "detector"
    SEGMENTER = "segmenter"
    FACE_DETECTOR = "face detector"
    FACE_EMBEDDER = "face embedder"
    TEXT_DETECTOR = "text detector"
    INSTANCE_MATCHER = "instance matcher"
    TRACKER = "tracker"
    EDGE_DETECTOR = "edge detector"
    DEPTH_ESTIMATOR = "depth estimator"
    NORMAL_ESTIMATOR = "normal estimator"
    POSE_ESTIMATOR = "pose estimator"
    SEMANTIC_SEGMENTER = "semantic segmenter"
    MATTER = "matting model"
    INPAINTER = "inpainter"
    IMAGE_EDITOR = "image editor"
    REPAINTER = "repainter"
    LANGUAGE_DETECTOR = "language detector"
    PHRASE_EXTRACTOR = "phrase extractor"


_ROWS: Mapping[Ability, Mapping[str, str]] = {
    Ability.IMAGE_TEXT_SCORER: {
        "open_clip": "x2i.models.open_clip.scorer:OpenClipScorer",
        "hf": "x2i.models.hf.features:HfScorer",
    },
    Ability.IMAGE_EMBEDDER: {
        "classic:hog-color": "x2i.models.classic.hog_color:HogColor",
        "open_clip": "x2i.models.open_clip.embedder:OpenClipEmbedder",
        "hf": "x2i.models.hf.features:HfEmbedder",
    },
    Ability.CAPTIONER: {
        "alt-text": "x2i.models.classic.alt_text:AltText",
        "hf": "x2i.models.hf.captioner:HfCaptioner",
        "openai": "x2i.models.openai.captioner:ServerCaptioner",
    },
    Ability.JUDGE: {  # asked in words, as captioners are
        "hf": "x2i.models.hf.captioner:HfCaptioner",
        "openai": "x2i.models.openai.captioner:ServerCaptioner",
    },
    Ability.IMAGE_CLASSIFIER: {
        "onnx:opennsfw": "x2i.models.onnx.opennsfw:OpenNsfw",
        "hf": "x2i.models.hf.classifier:HfClassifier",
    },
    Ability.FACE_DETECTOR: {"opencv:yunet": "x2i.models.opencv.yunet:YuNet"},
    Ability.FACE_EMBEDDER: {"opencv:sface": "x2i.models.opencv.sface:SFace"},
    Ability.TEXT_DETECTOR: {"rapidocr": "x2i.models.onnx.rapidocr:RapidOcr"},
    Ability.LANGUAGE_DETECTOR: {"py3langid": "x2i.models.langid.py3langid:Py3LangId"},
    Ability.PHRASE_EXTRACTOR: {
        "classic:noun-phrases": "x2i.models.classic.noun_phrases:NounPhrases",
        "classic:tags": "x2i.models.classic.tags:Tags",
        "spacy": "x2i.models.spacy.noun_phrases:SpacyPhrases",
    },
    Ability.DETECTOR: {
        "classic:saliency": "x2i.models.classic.saliency:Saliency",
        "hf": "x2i.models.hf.detector:HfDetector",
        "hf-instances": "x2i.models.hf.instances:HfInstances",
        "groundingdino-py": "x2i.models.groundingdino.detector:GroundingDino",
    },
    Ability.SEGMENTER: {
        "classic:grabcut": "x2i.models.classic.grabcut:GrabCut",
        "hf": "x2i.models.hf.segmenter:HfSegmenter",
    },
    Ability.INSTANCE_MATCHER: {
        "classic:sift": "x2i.models.classic.sift:Sift",
        "hf": "x2i.models.hf.matcher:HfMatcher",
    },
    Ability.TRACKER: {
        "classic:flow": "x2i.models.classic.flow:FlowTracker",
        "hf": "x2i.models.hf.tracker:HfTracker",
    },
    Ability.EDGE_DETECTOR: {
        "classic:canny": "x2i.models.classic.canny:Canny",
        "classic:xdog": "x2i.models.classic.xdog:Xdog",
        "hed": "x2i.models.edges.hed:Hed",
        "pidinet": "x2i.models.edges.pidinet:PiDiNet",
        "onnx": "x2i.models.onnx.edges:OnnxEdges",
    },
    Ability.NORMAL_ESTIMATOR: {"hf": "x2i.models.hf.normals:HfNormals"},
    Ability.POSE_ESTIMATOR: {"hf": "x2i.models.hf.pose:HfPose"},
    Ability.SEMANTIC_SEGMENTER: {"hf": "x2i.models.hf.semantic:HfSemantic"},
    Ability.MATTER: {"hf": "x2i.models.hf.matting:HfMatting"},
    Ability.DEPTH_ESTIMATOR: {"hf": "x2i.models.hf.depth:HfDepth"},
    Ability.IMAGE_EDITOR: {
        "onnx:style": "x2i.models.onnx.style:OnnxStyle",
        "diffusers": "x2i.models.diffusers.editor:DiffusersEditor",
        "openai": "x2i.models.openai.editor:ServerEditor",
    },
    Ability.REPAINTER: {
        "diffusers": "x2i.models.diffusers.editor:DiffusersEditor",
        "openai": "x2i.models.openai.editor:ServerEditor",
    },
    Ability.INPAINTER: {
        "classic:exemplar": "x2i.models.classic.exemplar:Exemplar",
        "classic:telea": "x2i.models.classic.telea:Telea",
        "diffusers": "x2i.models.diffusers.inpainter:DiffusersInpainter",
    },
}
BACKENDS: Mapping[Ability, Registry[Backend]] = {
    ability: Registry(f"{ability} backend", _ROWS.get(ability, {})) for ability in Ability
}
_WITH_REVISION = re.compile(r"(?P<name>.+?)(@(?P<revision>[^@\s/]+))?")


def backend(ability: Ability, name: str, options: Mapping[str, Any] | None = None) -> Backend:
    """Returns the backend called `name`, with `options` by name; nothing is loaded.

    Raises UserError if there is none of that name, or if an option is unknown, of a wrong type or out of its bounds.
    """
    table = BACKENDS[ability]
    parts = _WITH_REVISION.fullmatch(name)
    text, revision = (parts["name"], parts["revision"] or "") if parts else (name, "")
    family, _, model = text.partition(":")
    if family in table and table.get(family).open_names:
        if not model:
            raise UserError(f"{ability} {name!r}: which model? write {family}:MODEL")
        kind = table.get(family)
    elif text in table or (IMPORT_PATH.fullmatch(text) and ("." in family or find_spec(family))):
        kind, model = table.get(text), ""
    else:
        raise UserError(_unknown(ability, name))
    if revision and not kind.open_names:
        raise UserError(f"{ability} {name!r}: this backend has no revisions: write {text}")
    return from_mapping(kind, dict(options or {}), f"{ability} {name}", model=model, revision=revision)


def load(ability: Ability, name: str, options: Mapping[str, Any] | None = None) -> Any:
    """Returns the loaded backend called `name`: an object that fits the ability's protocol. Raises as `backend`."""
    return backend(ability, name, options).load()


@lru_cache(maxsize=64)
def resolved(found: Backend) -> str:
    """Returns `found.resolve()`, which may read gigabytes of weights, once per process."""
    return found.resolve()


def available(ability: Ability) -> list[str]:
    """Returns the names of an ability's backends as a user writes them: `classic:sift`, `hf:MODEL`."""
    table = BACKENDS[ability]
    return [f"{name}:MODEL" if table.get(name).open_names else name for name in table]


def _unknown(ability: Ability, name: str) -> str:
    names = available(ability)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{ability} {name!r}: no such backend; available: {', '.join(names)}, mypackage.module:Class{hint}"
