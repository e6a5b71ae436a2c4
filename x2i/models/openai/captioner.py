"""`openai:URL#MODEL`: captions by any server with the OpenAI chat interface."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from x2i.image import ResizeMode, encode, resize
from x2i.models.abilities import Caption, Captioner, PageText, RgbImage
from x2i.models.openai.client import Answer, ChatClient, RequestRefusedError
from x2i.models.openai.server import ServerBackend
from x2i.models.prompts import Question, asked, caption_of
from x2i.options import Option
from x2i.reasons import Dropped, Reason


@dataclass(frozen=True)
class ServerCaptioner(ServerBackend, Question):
    """model: URL#MODEL, such as http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct; several URLs with commas."""

    title: ClassVar[str] = "Captions by a server with the OpenAI chat interface (vLLM, SGLang, transformers serve)"
    temperature: Annotated[float, Option("0: the most probable words.", ge=0, le=2)] = 0.0
    seed: Annotated[int, Option("Seed that the server is given.")] = 0

    def load(self) -> Captioner:
        return LoadedServer(self, self.client(ChatClient))


class LoadedServer:
    def __init__(self, backend: ServerCaptioner, client: ChatClient) -> None:
        self._backend, self._client, self._words = backend, client, backend.words

    def caption(self, images: Sequence[RgbImage], texts: Sequence[PageText]) -> list[Caption | Dropped]:
        requests = [self._request(image, asked(self._words, text)) for image, text in zip(images, texts, strict=True)]
        return [self._caption(answer) for answer in self._client.ask(requests)]

    def _caption(self, answer: Answer | RequestRefusedError) -> Caption | Dropped:
        if isinstance(answer, RequestRefusedError):
            return Dropped(Reason.BACKEND_ERROR, str(answer))
        found = caption_of(answer.text, answer.finish, self._backend.schema)
        if isinstance(found, Dropped):
            return found
        return replace(found, prompt_tokens=answer.prompt_tokens, answer_tokens=answer.answer_tokens)

    def _request(self, image: RgbImage, words: str) -> dict[str, Any]:
        side = self._backend.max_side
        data = encode(resize(image, ResizeMode.LONGEST, side), "jpeg", 95)
        picture = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": words}]
        return {
            "model": self._backend.served,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self._backend.max_tokens,
            "temperature": self._backend.temperature,
            "seed": self._backend.seed,
        }
