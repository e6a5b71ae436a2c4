"""What backends on torch share: device, precision, batch size, and the files of Hub models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from x2i.errors import UserError
from x2i.models.backend import Backend
from x2i.models.weights import digest_of, hub_commit
from x2i.options import Option
from x2i.resources import Resources

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class TorchBackend(Backend):
    """A backend whose model is a torch module. Each worker has the model on one device."""

    extra: ClassVar[str] = "models"
    open_names: ClassVar[bool] = True

    batch: Annotated[int, Option("Images of one call.", ge=1, decides=False)] = 16
    device: Annotated[
        str, Option("auto: the worker's GPU if it has one. cpu, cuda or cuda:N: that one.", decides=False)
    ] = "auto"
    precision: Annotated[Literal["fp32", "bf16", "fp16"], Option("Of weights and activations.")] = "fp32"
    gpus: Annotated[float, Option("GPUs of one worker; 0.5 lets two share one.", ge=0, decides=False)] = 1

    @property
    def batch_size(self) -> int:
        return self.batch

    @property
    def resources(self) -> Resources:
        return Resources(gpus=0 if self.device == "cpu" else self.gpus)

    @property
    def torch_device(self) -> torch.device:
        torch = self.require("torch")
        named = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(named)

    @property
    def torch_dtype(self) -> torch.dtype:
        torch = self.require("torch")
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]


@dataclass(frozen=True, kw_only=True)
class HubBackend(TorchBackend):
    """A backend whose `model` is a folder in the layout of Hugging Face transformers, or a repository of the Hub."""

    @property
    def folder(self) -> Path | None:
        """The model's folder, None if it is named by its repository."""
        return Path(self.model).expanduser() if Path(self.model).expanduser().is_dir() else None

    def resolve(self) -> str:
        self.require("transformers")
        return digest_of(self.folder) if self.folder else hub_commit(self.model, self.revision)

    def fetch(self) -> None:
        if self.folder is None:
            from huggingface_hub import snapshot_download
            from huggingface_hub.constants import HF_HUB_OFFLINE

            ignored = ["*.bin", "*.pt", "*.pth", "*.onnx", "*.msgpack", "*.h5", "*.gguf"]
            snapshot_download(
                self.model, revision=self.revision or None, ignore_patterns=ignored, local_files_only=HF_HUB_OFFLINE
            )

    def network(self, kind: Any) -> Any:
        """Returns the model that `kind` makes of these files, in the precision asked for, on the worker's device.

        Raises UserError as `pretrained`, and if the files lack some of its weights, which would be random.
        """
        model, report = self.pretrained(kind, dtype=self.torch_dtype, use_safetensors=True, output_loading_info=True)
        if missing := sorted(report["missing_keys"]):
            raise UserError(
                f"{self.model}: cannot be loaded as {kind.__name__}: {len(missing)} of its weights are not in the "
                f"files, such as {', '.join(missing[:3])}"
            )
        return model.to(self.torch_device).eval()

    def pretrained(self, kind: Any, **options: Any) -> Any:
        """Returns `kind.from_pretrained(...)` of this model: safetensors only, no code of the repository's is run.

        Raises UserError if its files are incomplete or those of another kind of model.
        """
        name = str(self.folder) if self.folder else self.model
        try:
            return kind.from_pretrained(name, revision=self.revision or None, trust_remote_code=False, **options)
        except (ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(f"{name}: cannot be loaded as {kind.__name__}: {reason}") from error
