"""Our ResNet-18 against MONAI's with the same weights: two programs, one function."""

from __future__ import annotations

import warnings

import torch

from models.diagnosis.networks import ResNet18

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MONAI warns on import about optional packages
    from monai.networks.nets.resnet import ResNet


def monai_name(name: str) -> str:
    """Our parameter's name as MONAI writes it."""
    renamed = name.replace("stage", "layer").replace("norm", "bn").replace("shortcut", "downsample")
    return renamed.replace("stem", "conv1").replace("head", "fc").replace("bn.", "bn1.")


def test_our_network_computes_what_monais_does_with_the_same_weights() -> None:
    torch.manual_seed(0)
    ours = ResNet18(classes=2, width=32).eval()
    for module in ours.modules():  # untrained statistics would hide a swapped normalisation
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    theirs = ResNet(
        "basic", [2, 2, 2, 2], [32, 64, 128, 256], spatial_dims=2, n_input_channels=1, conv1_t_size=3,
        conv1_t_stride=1, no_max_pool=True, num_classes=2, bias_downsample=False,
    ).eval()  # fmt: skip
    renamed = {monai_name(name): value for name, value in ours.state_dict().items()}
    theirs.load_state_dict(renamed)
    images = torch.randn(4, 1, 28, 28)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)
