"""What the backends `openai:URL#MODEL` share: where the server is, how it is asked, and where its answers are kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from x2i.errors import UserError
from x2i.models.backend import Backend
from x2i.models.openai.client import ChatClient, default_cache
from x2i.options import Option

Client = TypeVar("Client", bound=ChatClient)


@dataclass(frozen=True)
class ServerBackend(Backend):
    """model: URL#MODEL, such as http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct; several URLs with commas."""

    open_names: ClassVar[bool] = True

    concurrency: Annotated[int, Option("Requests under way at once.", ge=1, decides=False)] = 32
    retries: Annotated[int, Option("Further attempts of one request.", ge=0, decides=False)] = 6
    timeout: Annotated[float, Option("Seconds for one attempt.", gt=0, decides=False)] = 120.0
    max_side: Annotated[int, Option("Longest side in pixels of the image that is sent.", ge=16)] = 1024
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

    def client(self, kind: type[Client]) -> Client:
        """Returns a client of the server, of class `kind`."""
        folder = Path(self.cache).expanduser() if self.cache else default_cache()
        key = os.environ.get(self.key_variable, "")
        return kind(self.urls, key, self.concurrency, self.retries, self.timeout, folder)
