"""Annotations: facts about images, each one file and one row. A score is an annotation made by `x2i filter`."""

from x2i.annotate.base import Annotation
from x2i.registry import Registry

ANNOTATIONS: Registry[Annotation] = Registry(
    "annotation",
    {
        "quality": "x2i.annotate.quality:Quality",
        "colorfulness": "x2i.annotate.colorfulness:Colorfulness",
        "jpeg_blockiness": "x2i.annotate.jpeg_blockiness:JpegBlockiness",
        "borders": "x2i.annotate.borders:Borders",
        "flatness": "x2i.annotate.flatness:Flatness",
        "pdq": "x2i.annotate.pdq:Pdq",
        "blocklist": "x2i.annotate.blocklist:Blocklist",
        "nsfw": "x2i.annotate.nsfw:Nsfw",
        "classifier": "x2i.annotate.classifier:Classifier",
        "embedding_head": "x2i.annotate.embedding_head:EmbeddingHead",
        "face_area": "x2i.annotate.face_area:FaceArea",
        "text_area": "x2i.annotate.text_area:TextArea",
        "caption_quality": "x2i.annotate.caption_quality:CaptionQuality",
        "caption_language": "x2i.annotate.caption_language:CaptionLanguage",
        "image_text": "x2i.annotate.image_text:ImageText",
        "captions": "x2i.annotate.captions:Captions",
        "best_caption": "x2i.annotate.best_caption:BestCaption",
        "entities": "x2i.annotate.entities:Entities",
        "faces": "x2i.annotate.faces:Faces",
        "text": "x2i.annotate.text:Text",
        "embeddings": "x2i.annotate.embeddings:Embeddings",
        "entity_embeddings": "x2i.annotate.entity_embeddings:EntityEmbeddings",
        "depth": "x2i.annotate.depth:Depth",
        "normals": "x2i.annotate.normals:Normals",
        "pose": "x2i.annotate.pose:PoseMaps",
        "segmentation": "x2i.annotate.segmentation:Segmentation",
        "edges": "x2i.annotate.edges:Edges",
        "lineart": "x2i.annotate.lineart:Lineart",
        "inpainting": "x2i.annotate.inpainting:Inpainting",
        "edits": "x2i.annotate.edits:Edits",
        "repaints": "x2i.annotate.repaints:Repaints",
        "matting": "x2i.annotate.matting:Matting",
        "scenes": "x2i.annotate.scenes:Scenes",
        "scene_entities": "x2i.annotate.scenes:SceneEntities",
        "scene_relations": "x2i.annotate.scenes:SceneRelations",
    },
)

__all__ = ["ANNOTATIONS", "Annotation"]
