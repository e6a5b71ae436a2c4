"""`groundingdino-py:FILE`: Grounding DINO from the weight file that its authors published."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.errors import UserError
from x2i.models.abilities import Detection, Detector, RgbImage
from x2i.models.phrase_boxes import PhraseDetector, detections, phrase_of_each_box, prompt_phrases
from x2i.models.torch_backend import TorchBackend
from x2i.models.weights import cached_snapshot, digest_of_files, hub_commit, read_state, sha256_of_file
from x2i.options import Option
from x2i.settings import read_yaml

TEXT_FILES = ("config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt")
INSTALL = "pip install 'x2i[groundingdino]' && pip install --no-deps groundingdino-py==0.4.0"


@dataclass(frozen=True)
class GroundingDino(TorchBackend):
    """The network of the package groundingdino-py. model: groundingdino_swint_ogc.pth, or another file of weights."""

    title: ClassVar[str] = "Grounding DINO by groundingdino-py, from its authors' weight file"
    extra: ClassVar[str] = "groundingdino"
    needs_phrases: ClassVar[bool] = True

    config: Annotated[
        str, Option("The network: GroundingDINO_SwinT_OGC, GroundingDINO_SwinB_cfg, or a .yaml file of its fields.")
    ] = "GroundingDINO_SwinT_OGC"
    text_encoder: Annotated[str, Option("The BERT whose tokenizer is used: a folder, or a name on the Hub.")] = (
        "bert-base-uncased"
    )
    threshold: Annotated[
        float, Option("Objects with a lower score are not stored. Keep it low and select later.", ge=0, lt=1)
    ] = 0.2
    side: Annotated[int, Option("Short side in pixels to which images are brought.", ge=32)] = 800
    longest_side: Annotated[int, Option("Longest side in pixels after that.", ge=32)] = 1333

    @property
    def file(self) -> Path:
        return Path(self.model).expanduser()

    def require(self, module: str) -> ModuleType:
        """Returns the imported `module`.

        Raises UserError with the commands to run: the package asks for a second OpenCV that would lie over ours, so
        it is installed without what it asks for.
        """
        try:
            return super().require(module)
        except UserError as error:
            raise UserError(f"{self.title}: needs {module.partition('.')[0]}: {INSTALL}") from error

    def resolve(self) -> str:
        """Returns the sha256 over the weights, the network's fields and the tokenizer."""
        self.require("groundingdino")
        weights = sha256_of_file(self.file)
        fields = hashlib.sha256(repr(sorted(self.fields().items())).encode()).hexdigest()
        folder = Path(self.text_encoder).expanduser()
        words = (
            digest_of_files([folder / name for name in TEXT_FILES])
            if folder.is_dir()
            else hub_commit(self.text_encoder, "")
        )
        return hashlib.sha256(f"{weights} {fields} {words}".encode()).hexdigest()

    def fetch(self) -> None:
        if not Path(self.text_encoder).expanduser().is_dir():
            from huggingface_hub import snapshot_download
            from huggingface_hub.constants import HF_HUB_OFFLINE

            snapshot_download(self.text_encoder, allow_patterns=list(TEXT_FILES), local_files_only=HF_HUB_OFFLINE)

    def fields(self) -> dict[str, Any]:
        """Returns the fields of the network's configuration. Raises UserError if there is none of that name."""
        if self.config.endswith((".yaml", ".yml")):
            return dict(read_yaml(Path(self.config).expanduser()))
        if "." in self.config or not self.config.isidentifier():
            raise UserError(f"{self.title}: config {self.config!r}: expected a name such as GroundingDINO_SwinT_OGC")
        module = self.require(f"groundingdino.config.{self.config}")
        return {name: value for name, value in vars(module).items() if not name.startswith("__")}

    def load(self) -> Detector:
        self.require("groundingdino.models")
        model, state = self.network(), read_state(self.file, "model")
        _fill(model, {name.removeprefix("module."): tensor for name, tensor in state.items()}, self.file)
        return LoadedGroundingDino(self, model.to(self.torch_device, self.torch_dtype).eval())

    def network(self) -> Any:
        """Returns the network with random weights, on the CPU."""
        from groundingdino.models import build_model

        from x2i.models.groundingdino.text_encoder import transformers_5

        folder = Path(self.text_encoder).expanduser()
        encoder = folder if folder.is_dir() else cached_snapshot(self.text_encoder, "")
        own = {"text_encoder_type": str(encoder), "device": "cpu"}
        # Recomputing activations saves memory in training, and only costs time here.
        fields = {**self.fields(), **own, "use_checkpoint": False, "use_transformer_ckpt": False}
        with transformers_5():
            return build_model(SimpleNamespace(**fields))


class LoadedGroundingDino(PhraseDetector):
    """It reads all phrases as one prompt, "red car. tree.", and scores each box for each token of it."""

    def __init__(self, backend: GroundingDino, model: Any) -> None:
        from groundingdino.datasets import transforms

        self._model, self._threshold = model, backend.threshold
        self._dtype, self._device = backend.torch_dtype, backend.torch_device
        self._transform = transforms.Compose(
            [
                transforms.RandomResize([backend.side], max_size=backend.longest_side),  # one size: nothing is random
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def alike(self, image: RgbImage, phrases: Sequence[str]) -> Hashable:
        """Returns the size and the phrases: of several prompts in a batch, the network mixes up the masks."""
        return image.shape, tuple(phrases)

    def _detect(self, images: list[RgbImage], phrases: list[list[str]]) -> list[list[Detection]]:
        import torch
        from PIL import Image

        pixels_NCHW = torch.stack([self._transform(Image.fromarray(image), None)[0] for image in images])
        prompts = [". ".join(prompt_phrases(of_image)) + "." for of_image in phrases]
        with torch.inference_mode():
            outputs = self._model(pixels_NCHW.to(self._device, self._dtype), captions=prompts)
        scores_NQT, boxes_NQ4 = outputs["pred_logits"].float().sigmoid().cpu(), outputs["pred_boxes"].float().cpu()
        return [self._of_image(*parts) for parts in zip(images, phrases, prompts, scores_NQT, boxes_NQ4, strict=True)]

    def _of_image(
        self, image: RgbImage, phrases: Sequence[str], prompt: str, scores_QT: Any, boxes_Q4: Any
    ) -> list[Detection]:
        import torch

        kept_Q = scores_QT.max(dim=1).values > self._threshold
        scores_QT, boxes_Q4 = scores_QT[kept_Q], boxes_Q4[kept_Q].numpy()
        tokens_T = torch.tensor(self._model.tokenizer(prompt)["input_ids"])[: scores_QT.shape[1]]
        best_Q = phrase_of_each_box(scores_QT, tokens_T, self._model.tokenizer, len(phrases))
        corners_Q4 = np.concatenate([boxes_Q4[:, :2] - boxes_Q4[:, 2:] / 2, boxes_Q4[:, :2] + boxes_Q4[:, 2:] / 2], 1)
        pixels_Q4 = corners_Q4 * np.tile(image.shape[1::-1], 2)
        return detections(image, pixels_Q4, scores_QT.max(dim=1).values.tolist(), [phrases[best] for best in best_Q])


def _fill(model: Any, state: Mapping[str, Any], file: Path) -> None:
    """Puts a file's tensors into the network. Raises UserError, naming some, if they are not the network's."""
    try:
        missing = model.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise UserError(f"{file}: not the weights of this network (option config): {reason}") from error
    if missing:
        raise UserError(
            f"{file}: not the weights of this network (option config): {len(missing)} of its tensors are not in the "
            f"file, such as {', '.join(missing[:3])}"
        )
