"""Checkpoints as other projects save them, of small networks: with optimizers, schedules, arguments, scalers, averages.

Each is written from the code with which the project saves it.
"""

from argparse import Namespace
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import PosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Weights = Mapping[str, Tensor]

# Arguments as a training script parses them.
ARGUMENTS = Namespace(
    model="vit_tiny",
    lr=5e-4,
    output_dir=PosixPath("runs/1"),
    betas=(0.9, 0.95),
    seed=np.int64(3),
    eval_crop_ratio=0.875,
)


def prefixed(prefix: str, weights: Weights) -> "OrderedDict[str, Tensor]":
    """The tensors with something before their names, as a state dict has them: with versions of its modules."""
    named = OrderedDict((f"{prefix}{name}", tensor) for name, tensor in weights.items())
    named._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    return named


def averaged(weights: Weights) -> "OrderedDict[str, Tensor]":
    """Other weights of the same names: what an average over steps has become."""
    return prefixed(
        "", {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    )


def optimizer_state(weights: Weights) -> dict[str, Any]:
    """The state of AdamW after a step."""
    parameters = [nn.Parameter(torch.zeros(tensor.shape)) for tensor in weights.values() if tensor.is_floating_point()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer.state_dict()


def scaler_state() -> dict[str, Any]:
    return {
        "scale": 65536.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 2000,
        "_growth_tracker": 7,
    }


def schedule_state() -> dict[str, Any]:
    return {"base_values": [5e-4], "last_epoch": 3, "milestones": OrderedDict({30: 1}), "_last_lr": [1e-5]}


def projection_head(width: int) -> dict[str, Tensor]:
    """The head of DINO: an MLP and a normed last layer."""
    shapes = {
        "mlp.0.weight": (8, width),
        "mlp.0.bias": (8,),
        "last_layer.weight_g": (6, 1),
        "last_layer.weight_v": (6, 8),
    }
    return {name: torch.full(shape, 0.5) for name, shape in shapes.items()}


def without_classifier(weights: Weights) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith("head")}


def timm_checkpoint(weights: Weights) -> dict[str, Any]:
    """`timm.utils.CheckpointSaver._save`, with an average."""
    return {
        "epoch": 9, "arch": "vit_tiny_patch16_224", "state_dict": prefixed("", weights),
        "optimizer": optimizer_state(weights), "version": 2, "args": ARGUMENTS, "amp_scaler": scaler_state(),
        "state_dict_ema": averaged(weights), "metric": np.float64(81.25),
    }  # fmt: skip


def deit_checkpoint(weights: Weights) -> dict[str, Any]:
    """`main.py` of DeiT: `utils.save_on_master`."""
    return {
        "model": prefixed("", weights), "optimizer": optimizer_state(weights), "lr_scheduler": schedule_state(),
        "epoch": 9, "model_ema": averaged(weights), "scaler": scaler_state(), "args": ARGUMENTS,
    }  # fmt: skip


def dino_checkpoint(weights: Weights) -> dict[str, Any]:
    """`main_dino.py`: a student in DistributedDataParallel, a teacher without, each with a projection head."""
    backbone = without_classifier(weights)
    head = projection_head(weights["cls_token"].shape[-1])
    return {
        "student": prefixed("module.backbone.", backbone) | prefixed("module.head.", head),
        "teacher": prefixed("backbone.", averaged(backbone)) | prefixed("head.", head),
        "optimizer": optimizer_state(weights), "epoch": 9, "args": ARGUMENTS,
        "dino_loss": OrderedDict({"center": torch.zeros(1, 6)}), "fp16_scaler": scaler_state(),
    }  # fmt: skip


def dinov2_checkpoint(weights: Weights) -> dict[str, Any]:
    """`teacher_checkpoint.pth` of DINOv2: blocks in chunks of one, a mask token, two projection heads."""
    backbone = without_classifier(weights)
    chunked = {
        name.replace("blocks.", f"blocks.{name.split('.')[1]}.", 1) if name.startswith("blocks.") else name: tensor
        for name, tensor in backbone.items()
    }
    width = weights["cls_token"].shape[-1]
    return {
        "teacher": prefixed("backbone.", chunked | {"mask_token": torch.zeros(1, width)})
        | prefixed("dino_head.", projection_head(width))
        | prefixed("ibot_head.", projection_head(width))
    }


def mae_checkpoint(weights: Weights) -> dict[str, Any]:
    """`misc.save_model` of MAE while it pretrains: an encoder and a decoder of another width."""
    decoder = {
        "mask_token": (1, 1, 8), "decoder_pos_embed": (1, 17, 8), "decoder_embed.weight": (8, 32),
        "decoder_embed.bias": (8,), "decoder_blocks.0.norm1.weight": (8,), "decoder_blocks.0.attn.qkv.weight": (24, 8),
        "decoder_norm.weight": (8,), "decoder_norm.bias": (8,), "decoder_pred.weight": (192, 8),
        "decoder_pred.bias": (192,),
    }  # fmt: skip
    model = without_classifier(weights) | {name: torch.zeros(shape) for name, shape in decoder.items()}
    return {
        "model": prefixed("", model), "optimizer": optimizer_state(weights), "epoch": 9, "scaler": scaler_state(),
        "args": ARGUMENTS,
    }  # fmt: skip


def moco_checkpoint(weights: Weights) -> dict[str, Any]:
    """`main_moco.py` of MoCo v3: two encoders in DistributedDataParallel, with projections for heads."""
    head = {f"head.{number}.weight": torch.zeros(8, 8) for number in (0, 3, 6)}
    backbone = without_classifier(weights) | head
    return {
        "epoch": 9, "arch": "vit_small", "optimizer": optimizer_state(weights), "scaler": scaler_state(),
        "state_dict": prefixed("module.base_encoder.", backbone)
        | prefixed("module.momentum_encoder.", averaged(backbone))
        | prefixed("module.predictor.", {"0.weight": torch.zeros(8, 8)}),
    }  # fmt: skip


def lightning_checkpoint(weights: Weights, *, attribute: str = "model") -> dict[str, Any]:
    """`Trainer.save_checkpoint` of Lightning: the network is an attribute of the module."""
    return {
        "epoch": 9, "global_step": 400, "pytorch-lightning_version": "2.5.1",
        "state_dict": prefixed(f"{attribute}.", weights) | prefixed("criterion.", {"weight": torch.ones(5)}),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 10, "completed": 9}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_acc'}": {"best_model_score": torch.tensor(0.8), "dirpath": "x"}},
        "optimizer_states": [optimizer_state(weights)], "lr_schedulers": [schedule_state()],
        "hparams_name": "kwargs", "hyper_parameters": {"lr": 1e-3, "backbone": "vit_tiny"},
    }  # fmt: skip
