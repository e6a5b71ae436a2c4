"""`hed:FILE`: holistically-nested edge detection, in the two layouts in which its weights are passed around."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from x2i.errors import UserError
from x2i.models.edges.file_backend import EdgeFileBackend, Network, on_device
from x2i.models.weights import read_state

if TYPE_CHECKING:
    import torch

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""How many convolutions each block of VGG-16 has."""
CAFFE_MEANS_BGR = (104.00698793, 116.66876762, 122.67891434)
_BLOCKS = {name: number for number, name in enumerate(("One", "Two", "Thr", "Fou", "Fiv"), 1)}
_VGG = re.compile(r"(?:module|net)(Vgg|Score)(One|Two|Thr|Fou|Fiv)(?:\.(\d+))?\.(weight|bias)")


@dataclass(frozen=True)
class Hed(EdgeFileBackend):
    """Xie and Tu, "Holistically-nested edge detection" (ICCV 2015).

    The file is that of pytorch-hed (`network-bsds500.pth`: the blue-green-red of Caffe, side outputs fused by a
    convolution) or ControlNet's (`ControlNetHED.pth`: red-green-blue, the mean of the side outputs).
    """

    title: ClassVar[str] = "HED soft edges, from a weight file of pytorch-hed or of ControlNet"

    def network(self) -> Network:
        state = on_device(_named(read_state(self.file, "state_dict")), self)
        wanted = {
            f"block{block}.{layer}.{part}"
            for block, count in enumerate(CONVOLUTIONS, 1)
            for layer in ("projection", *(f"convs.{number}" for number in range(count)))
            for part in ("weight", "bias")
        }
        missing = sorted(wanted - set(state))
        if missing or not ({"norm", "fuse.weight"} & set(state)):
            named = ", ".join(missing[:2]) or "norm or a fusing convolution"
            raise UserError(f"{self.file}: no weights of HED: there is no {named}")
        return lambda images_N3HW: run(state, images_N3HW)


def run(state: dict[str, Any], images_N3HW: torch.Tensor) -> torch.Tensor:
    """Returns edges_N1HW, 0 to 1, of RGB images of 0 to 255."""
    import torch
    from torch.nn import functional as F

    if "norm" in state:
        x = images_N3HW - state["norm"]
    else:
        x = images_N3HW.flip(1) - torch.tensor(CAFFE_MEANS_BGR).to(images_N3HW).view(1, 3, 1, 1)
    sides = []
    for block, count in enumerate(CONVOLUTIONS, 1):
        x = F.max_pool2d(x, 2, 2) if block > 1 else x
        for number in range(count):
            name = f"block{block}.convs.{number}"
            x = F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))
        side = F.conv2d(x, state[f"block{block}.projection.weight"], state[f"block{block}.projection.bias"])
        sides.append(F.interpolate(side, images_N3HW.shape[2:], mode="bilinear", align_corners=False))
    stacked_N5HW = torch.cat(sides, dim=1)
    if "norm" in state:
        return stacked_N5HW.mean(dim=1, keepdim=True).sigmoid()
    return F.conv2d(stacked_N5HW, state["fuse.weight"], state["fuse.bias"]).sigmoid()


def _named(state: dict[str, Any]) -> dict[str, Any]:
    """Returns the tensors under ControlNet's names, the fusing convolution as `fuse`."""
    renamed = {}
    for name, tensor in state.items():
        found = _VGG.fullmatch(name)
        if found is not None:
            layer = f"convs.{int(found[3]) // 2}" if found[1] == "Vgg" else "projection"
            name = f"block{_BLOCKS[found[2]]}.{layer}.{found[4]}"
        renamed[re.sub(r"^(?:module|net)Combine\.0\.", "fuse.", name)] = tensor
    return renamed
