"""`openai:URL#MODEL` editing: any server with the OpenAI image interface, POST /images/edits."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import cv2

from x2i.image import ResizeMode, decode, encode, resize
from x2i.models.abilities import ImageEditor, RgbImage
from x2i.models.openai.client import Answer, ChatClient, RequestRefusedError
from x2i.models.openai.server import ServerBackend
from x2i.options import Option
from x2i.reasons import Dropped, DroppedError, Reason

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True)
class ServerEditor(ServerBackend):
    """model: URL#MODEL, such as http://localhost:8000/v1#Qwen/Qwen-Image-Edit; several URLs with commas.

    Answers must hold the image itself (b64_json), no address. They are kept on disk, so that a run that was killed
    never asks, or pays, twice.
    """

    title: ClassVar[str] = "Edits by a server with the OpenAI image interface"
    concurrency: Annotated[int, Option("Requests under way at once.", ge=1, decides=False)] = 8
    timeout: Annotated[float, Option("Seconds for one attempt.", gt=0, decides=False)] = 300.0

    def load(self) -> ImageEditor:
        return LoadedServer(self, self.client(EditClient))


class EditClient(ChatClient):
    """A client of POST /images/edits, whose requests are forms. An answer's text is its image in base64."""

    def _send(
        self, session: aiohttp.ClientSession, url: str, request: Mapping[str, Any]
    ) -> aiohttp.client._RequestContextManager:
        import aiohttp

        form = aiohttp.FormData()
        for name in ("model", "prompt", "response_format", "seed"):
            form.add_field(name, str(request[name]))
        form.add_field("image", base64.b64decode(request["image"]), filename="image.png", content_type="image/png")
        return session.post(f"{url}/images/edits", data=form)

    def _parse(self, document: Mapping[str, Any]) -> Answer:
        return Answer(str(document["data"][0]["b64_json"]), "stop")


class LoadedServer:
    def __init__(self, backend: ServerEditor, client: EditClient) -> None:
        self._backend, self._client = backend, client

    def edit(
        self, images: Sequence[RgbImage], instructions: Sequence[str], seeds: Sequence[int]
    ) -> list[RgbImage | Dropped]:
        requests = [self._request(*one) for one in zip(images, instructions, seeds, strict=True)]
        return [_edited(image, answer) for image, answer in zip(images, self._client.ask(requests), strict=True)]

    def _request(self, image: RgbImage, instruction: str, seed: int) -> dict[str, Any]:
        data = encode(resize(image, ResizeMode.LONGEST, self._backend.max_side), "png")
        return {
            "model": self._backend.served,
            "prompt": instruction,
            "image": base64.b64encode(data).decode(),
            "response_format": "b64_json",
            "seed": seed % 2**31,
        }


def _edited(image: RgbImage, answer: Answer | RequestRefusedError) -> RgbImage | Dropped:
    if isinstance(answer, RequestRefusedError):
        return Dropped(Reason.BACKEND_ERROR, str(answer))
    try:
        pixels = decode(base64.b64decode(answer.text, validate=True))
    except (binascii.Error, DroppedError) as error:
        return Dropped(Reason.ANSWER_INVALID, f"no image: {error}")
    # as the model made it, in the size that it chose: whether that lies over the photograph is measured later
    return pixels if pixels.shape == image.shape else _bounded(pixels, max(image.shape[:2]))


def _bounded(pixels: RgbImage, side: int) -> RgbImage:
    scale = side / max(pixels.shape[:2])
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
