"""`pidinet:FILE`: edges by pixel differences, from the weight file of its authors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from x2i.errors import UserError
from x2i.models.edges.file_backend import EdgeFileBackend, Network, on_device
from x2i.models.weights import read_state
from x2i.options import Option

if TYPE_CHECKING:
    import torch

BLOCKS = ((1, 1), (1, 2), (1, 3), *((stage, block) for stage in (2, 3, 4) for block in (1, 2, 3, 4)))
KINDS = ("central", "angular", "radial", "plain") * 4
"""The kinds of convolution of the published networks, layer by layer (their configuration "carv4")."""
CLOCKWISE = (3, 0, 1, 6, 4, 2, 7, 8, 5)
OUTER, INNER = (0, 2, 4, 10, 14, 20, 22, 24), (6, 7, 8, 11, 13, 16, 17, 18)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PiDiNet(EdgeFileBackend):
    """Su et al., "Pixel difference networks for efficient edge detection" (ICCV 2021).

    The file is `table5_pidinet.pth` or another one of its authors', as trained or converted to plain convolutions.
    """

    title: ClassVar[str] = "PiDiNet soft edges, from its authors' weight file"

    input: Annotated[
        Literal["imagenet", "controlnet"],
        Option("imagenet: as its authors feed it. controlnet: blue-green-red, 0 to 1, as ControlNet's training did."),
    ] = "imagenet"

    def network(self) -> Network:
        read = read_state(self.file, "state_dict")
        state = {name.removeprefix("module."): tensor for name, tensor in read.items()}
        try:
            state = on_device(plain_kernels(state), self)
        except KeyError as error:
            raise UserError(f"{self.file}: no weights of a PiDiNet: there is no {error.args[0]}") from error
        return lambda images_N3HW: run(state, self._fed(images_N3HW))

    def _fed(self, images_N3HW: torch.Tensor) -> torch.Tensor:
        if self.input == "controlnet":
            return images_N3HW.flip(1) / 255
        mean, deviation = (images_N3HW.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        return (images_N3HW / 255 - mean) / deviation


def plain_kernels(state: dict[str, Any]) -> dict[str, Any]:
    """Returns the tensors with every pixel difference convolution turned into the plain one that does the same."""
    layers = ["init_block.weight", *(f"block{stage}_{block}.conv1.weight" for stage, block in BLOCKS)]
    kernels = [state[name] for name in layers]
    if any(kernel.shape[-1] == 5 for kernel in kernels):  # converted by its authors' script
        return state
    return state | {name: plain(kernel, kind) for name, kernel, kind in zip(layers, kernels, KINDS, strict=True)}


def plain(kernel_OI33: torch.Tensor, kind: str) -> torch.Tensor:
    """Returns the kernel, 3x3 or 5x5, that takes the pixel differences of a kind by itself.

    central: neighbors less the center; angular: neighbors less the next ones around the center, clockwise;
    radial: pixels of the outer ring less those of the inner ring on the same ray.
    """
    flat = kernel_OI33.flatten(2)
    if kind == "central":
        flat = flat.clone()
        flat[..., 4] -= kernel_OI33.sum(dim=(2, 3))
    elif kind == "angular":
        flat = flat - flat[..., list(CLOCKWISE)]
    elif kind == "radial":
        wide = flat.new_zeros(*flat.shape[:2], 25)
        wide[..., list(OUTER)], wide[..., list(INNER)] = flat[..., 1:], -flat[..., 1:]
        return wide.unflatten(2, (5, 5))
    return flat.unflatten(2, (3, 3))


def run(state: dict[str, Any], x_N3HW: torch.Tensor) -> torch.Tensor:
    """Returns edges_N1HW, 0 to 1."""
    import torch
    from torch.nn import functional as F

    size, x, stages = x_N3HW.shape[2:], _convolved(x_N3HW, state["init_block.weight"]), []
    for stage, block in BLOCKS:
        name, shortcut = f"block{stage}_{block}", x
        if stage > 1 and block == 1:
            x = F.max_pool2d(x, 2, 2)
            shortcut = F.conv2d(x, state[f"{name}.shortcut.weight"], state[f"{name}.shortcut.bias"])
        y = F.relu(_convolved(x, state[f"{name}.conv1.weight"], groups=x.shape[1]))
        x = F.conv2d(y, state[f"{name}.conv2.weight"]) + shortcut
        if block == (3 if stage == 1 else 4):
            stages.append(x)
    sides = []
    for number, x in enumerate(stages):
        if f"dilations.{number}.conv1.weight" in state:
            x = _dilated(x, state, f"dilations.{number}")
        if f"attentions.{number}.conv1.weight" in state:
            x = _attended(x, state, f"attentions.{number}")
        name = f"conv_reduces.{number}.conv"
        x = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])
        sides.append(F.interpolate(x, size, mode="bilinear", align_corners=False))
    return F.conv2d(torch.cat(sides, 1), state["classifier.weight"], state["classifier.bias"]).sigmoid()


def _convolved(x: torch.Tensor, kernel: torch.Tensor, groups: int = 1) -> torch.Tensor:
    from torch.nn import functional as F

    return F.conv2d(x, kernel, padding=kernel.shape[-1] // 2, groups=groups)


def _dilated(x: torch.Tensor, state: dict[str, Any], name: str) -> torch.Tensor:
    from torch.nn import functional as F

    x = F.conv2d(F.relu(x), state[f"{name}.conv1.weight"], state[f"{name}.conv1.bias"])
    reach = {1: 5, 2: 7, 3: 9, 4: 11}
    parts = [F.conv2d(x, state[f"{name}.conv2_{n}.weight"], padding=r, dilation=r) for n, r in reach.items()]
    return parts[0] + parts[1] + parts[2] + parts[3]


def _attended(x: torch.Tensor, state: dict[str, Any], name: str) -> torch.Tensor:
    from torch.nn import functional as F

    y = F.conv2d(F.relu(x), state[f"{name}.conv1.weight"], state[f"{name}.conv1.bias"])
    return x * F.conv2d(y, state[f"{name}.conv2.weight"], padding=1).sigmoid()
