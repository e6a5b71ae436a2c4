"""`openai:URL#MODEL`: captions by any server with the OpenAI chat interface."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from x2i.errors import UserError
from x2i.image import ResizeMode, encode, resize
from x2i.models.abilities import Caption, Captioner, PageText, RgbImage
from x2i.models.backend import Backend
from x2i.models.openai.client import Answer, ChatClient, RequestRefusedError, default_cache
from x2i.models.prompts import Question, caption_of
from x2i.options import Option
from x2i.reasons import Dropped, Reason


@dataclass(frozen=True)
class ServerCaptioner(Backend, Question):
    """model: URL#MODEL, such as http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct; several URLs with commas."""

    title: ClassVar[str] = "Captions by a server with the OpenAI chat interface (vLLM, SGLang, transformers serve)"
    open_names: ClassVar[bool] = True

    concurrency: Annotated[int, Option("Requests under way at once.", ge=1, decides=False)] = 32
    retries: Annotated[int, Option("Further attempts of one request.", ge=0, decides=False)] = 6
    timeout: Annotated[float, Option("Seconds for one attempt.", gt=0, decides=False)] = 120.0
    max_side: Annotated[int, Option("Longest side in pixels of the image that is sent.", ge=16)] = 1024
    temperature: Annotated[float, Option("0: the most probable words.", ge=0, le=2)] = 0.0
    seed: Annotated[int, Option("Seed that the server is given.")] = 0
    key_variable: Annotated[str, Option("Environment variable that holds the API key.", decides=False)] = (
        "OPENAI_API_KEY"
    )
    cache: Annotated[str, Option("Folder of kept answers. Default: ~/.cache/x2i/answers.", decides=False)] = ""

    @property
    def batch_size(self) -> int:
        return 2 * self.concurrency

    @property
    def batches_at_once(self) -> int:
        return 2

    @property
    def urls(self) -> list[str]:
        return [url.rstrip("/") for url in self.model.partition("#")[0].split(",")]

    @property
    def served(self) -> str:
        """The model's name at the server."""
        return self.model.partition("#")[2]

    def resolve(self) -> str:
        """Returns the model's name: a server does not say which weights it has loaded."""
        if not self.served or not all(url.startswith(("http://", "https://")) for url in self.urls):
            raise UserError(f"openai:{self.model}: expected openai:http://host:8000/v1#MODEL")
        return f"served:{self.served}"

    def load(self) -> Captioner:
        folder = Path(self.cache).expanduser() if self.cache else default_cache()
        key = os.environ.get(self.key_variable, "")
        return LoadedServer(self, ChatClient(self.urls, key, self.concurrency, self.retries, self.timeout, folder))


class LoadedServer:
    def __init__(self, backend: ServerCaptioner, client: ChatClient) -> None:
        self._backend, self._client, self._words = backend, client, backend.words

    def caption(self, images: Sequence[RgbImage], texts: Sequence[PageText]) -> list[Caption | Dropped]:
        return [self._caption(answer) for answer in self._client.ask([self._request(image) for image in images])]

    def _caption(self, answer: Answer | RequestRefusedError) -> Caption | Dropped:
        if isinstance(answer, RequestRefusedError):
            return Dropped(Reason.BACKEND_ERROR, str(answer))
        found = caption_of(answer.text, answer.finish, self._backend.schema)
        if isinstance(found, Dropped):
            return found
        return Caption(found.text, found.source, answer.prompt_tokens, answer.answer_tokens)

    def _request(self, image: RgbImage) -> dict[str, Any]:
        side = self._backend.max_side
        data = encode(resize(image, ResizeMode.LONGEST, side), "jpeg", 95)
        picture = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": self._words}]
        return {
            "model": self._backend.served,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self._backend.max_tokens,
            "temperature": self._backend.temperature,
            "seed": self._backend.seed,
        }
