"""Every supported architecture of Vision Transformers returns timm's tokens and its class-token attention."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from figures import seeded_weights
from tscam.backbones import create_backbone, list_backbones
from tscam.backbones.base import Backbone
from tscam.backbones.features import Record, Request
from tscam.errors import ConfigError

TINY: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}

# Number of prefix tokens by name. Covered are one and two trained tokens, registers without position embeddings, layer
# scale, a norm before the blocks, another activation, and patches of 14 and 16 pixels.
ARCHITECTURES = {
    "deit_tiny_patch16_224": 1,
    "deit_tiny_distilled_patch16_224": 2,
    "deit3_small_patch16_224": 1,
    "vit_small_patch16_224": 1,
    "vit_small_patch16_224.dino": 1,
    "vit_base_patch16_clip_224": 1,
    "vit_base_patch16_clip_quickgelu_224": 1,
    "vit_small_patch14_dinov2": 1,
    "vit_small_patch14_reg4_dinov2": 5,
    "eva02_tiny_patch14_224": 1,  # rotary and learned positions, SwiGLU, separate projections
    "eva02_base_patch16_clip_224": 1,  # as above for CLIP, with norms inside attention and MLP
    "vit_pe_core_base_patch16_224": 1,  # pooled by attention
    "eva_giant_patch14_224": 1,  # only learned positions, a joint projection with separate biases
    "vit_small_patch16_dinov3": 5,  # only rotary positions, registers, layer scale
    "vit_small_patch16_rope_mixed_224": 1,  # rotary positions of each layer
    "vit_small_plus_patch16_dinov3_qkvb": 5,  # gated MLP, biases
    "vit_base_patch16_sapiens2": 9,  # normed queries and keys, fewer heads for keys than for queries
    "beit_base_patch16_224": 1,  # relative position biases
    "beitv2_base_patch16_224": 1,  # as above
    "beit3_base_patch16_224": 1,
}
# Backbones with position embeddings of a single grid.
FIXED_GRID = ("beit_base_patch16_224", "beitv2_base_patch16_224")

# Arguments of a tiny backbone besides width and depth.
MORE = {"vit_base_patch16_sapiens2": {"num_kv_heads": 1}}


def patch_of(name: str) -> int:
    return 14 if "patch14" in name else 16


def seeded_pair(name: str, *, image_hw: tuple[int, int], **more: Any) -> tuple[Backbone, Any]:
    """Return our backbone and timm's model with the same large weights; small ones would hide the blocks' effect."""
    more |= MORE.get(name, {})
    backbone = create_backbone(name, image_hw=image_hw, args=TINY | more).eval()
    dynamic: dict[str, Any] = {} if name in FIXED_GRID else {"dynamic_img_size": True}
    theirs = timm.create_model(name, img_size=image_hw, num_classes=0, **dynamic, **(TINY | more)).eval()
    shapes = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    weights = seeded_weights(shapes, seed=3, scale=0.3)
    theirs.load_state_dict(weights)
    backbone.load_state_dict({backbone.published_prefix + key: tensor for key, tensor in weights.items()})
    return backbone, theirs


class Matrices:
    """Records the attention matrices of timm's unfused blocks."""

    def __init__(self, vit: Any) -> None:
        self.by_layer: list[Tensor] = []
        for block in vit.blocks:
            block.attn.fused_attn = False
            block.attn.attn_drop.register_forward_hook(self.keep)

    def keep(self, _: nn.Module, inputs: tuple[Tensor], __: Tensor) -> None:
        self.by_layer.append(inputs[0])


def pixels_of(rows: int, columns: int, *, patch: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    return torch.randn(2, 3, rows * patch, columns * patch, generator=generator)


@pytest.mark.parametrize("grid", [(3, 5), (4, 2), (6, 7)], ids=["the built grid", "a smaller one", "a larger one"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tokens_and_class_rows_are_timms(name: str, grid: tuple[int, int]) -> None:
    patch = patch_of(name)
    built = grid if name in FIXED_GRID else (3, 5)
    backbone, theirs = seeded_pair(name, image_hw=(built[0] * patch, built[1] * patch))
    pixels = pixels_of(*grid, patch=patch)
    matrices = Matrices(theirs)
    with torch.inference_mode():
        features = backbone(pixels, Request(records=Record.CLASS_ATTENTION | Record.ATTENTION | Record.POOLED))
        expected = theirs.forward_features(pixels)
        pooled = theirs.forward_head(expected, pre_logits=True)
        expected = theirs.fc_norm(expected)

    prefix = ARCHITECTURES[name]
    assert features.grid == grid
    torch.testing.assert_close(features.prefix_tokens, expected[:, :prefix], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.patch_tokens.flatten(1, 2), expected[:, prefix:], rtol=0, atol=1e-5)

    assert features.class_attention is not None
    rows = torch.stack([matrix[:, :, 0] for matrix in matrices.by_layer])
    torch.testing.assert_close(features.class_attention, rows, rtol=0, atol=1e-5)
    assert features.attention is not None
    torch.testing.assert_close(
        features.attention, torch.stack([matrix.mean(dim=1) for matrix in matrices.by_layer]), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(features.pooled, pooled, rtol=0, atol=1e-5)
    # Rows sum to 1 over all tokens including prefix tokens, and none of them is flat, so agreement means something.
    assert features.class_attention.shape[-1] == prefix + grid[0] * grid[1]
    torch.testing.assert_close(features.class_attention.sum(dim=-1), torch.ones(2, 2, 2), rtol=0, atol=1e-5)
    assert rows.std(dim=-1).min() > 1e-3


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_recording_changes_no_token_and_only_requested_records_are_returned(name: str) -> None:
    patch = patch_of(name)
    backbone, _ = seeded_pair(name, image_hw=(2 * patch, 3 * patch))
    pixels = pixels_of(2, 3, patch=patch)
    with torch.inference_mode():
        silent = backbone(pixels, Request())
        recorded = backbone(pixels, Request(records=Record.CLASS_ATTENTION))
    assert silent.class_attention is None
    assert torch.equal(silent.patch_tokens, recorded.patch_tokens)
    assert torch.equal(silent.prefix_tokens, recorded.prefix_tokens)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("vit_small_patch16_224", {"qk_norm": True}),
        ("vit_small_patch16_224", {"scale_attn_norm": True}),
        ("vit_small_patch16_224", {"scale_mlp_norm": True}),
        ("eva02_base_patch16_clip_224", {"qk_norm": True}),
        ("eva02_base_patch16_clip_224", {"qk_norm": True, "qkv_fused": True}),
        ("beit_base_patch16_224", {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}),
        ("beit_base_patch16_224", {"use_shared_rel_pos_bias": True}),
        ("beit_base_patch16_224", {"use_rel_pos_bias": False, "use_abs_pos_emb": True}),
    ],
    ids=str,
)
def test_optional_parts_of_an_architecture_are_computed_as_timm_does(name: str, more: dict[str, bool]) -> None:
    backbone, theirs = seeded_pair(name, image_hw=(32, 48), **more)
    pixels = pixels_of(2, 3, patch=16)
    matrices = Matrices(theirs)
    with torch.inference_mode():
        features = backbone(pixels, Request(records=Record.CLASS_ATTENTION))
        expected = theirs.fc_norm(theirs.forward_features(pixels))
    torch.testing.assert_close(features.patch_tokens.flatten(1, 2), expected[:, 1:], rtol=0, atol=1e-5)
    assert features.class_attention is not None
    rows = torch.stack([matrix[:, :, 0] for matrix in matrices.by_layer])
    torch.testing.assert_close(features.class_attention, rows, rtol=0, atol=1e-5)


def test_a_model_that_norms_after_pooling_has_its_tokens_normed() -> None:
    backbone, theirs = seeded_pair("vit_small_patch16_224", image_hw=(32, 48), global_pool="avg")
    pixels = pixels_of(2, 3, patch=16)
    with torch.inference_mode():
        features = backbone(pixels, Request())
        expected = theirs.fc_norm(theirs.forward_features(pixels))
    torch.testing.assert_close(features.patch_tokens.flatten(1, 2), expected[:, 1:], rtol=0, atol=1e-5)


class KeptBranches:
    """Records for each branch the pictures whose branch timm's stochastic depth keeps."""

    def __init__(self, vit: Any) -> None:
        self.by_branch: list[Tensor] = []
        for block in vit.blocks:
            for module in (block.drop_path1, block.drop_path2):
                module.register_forward_hook(self.record)

    def record(self, _: nn.Module, __: tuple[Tensor], branch: Tensor) -> None:
        self.by_branch.append(branch.flatten(1).any(dim=1))


def test_stochastic_depth_drops_the_branches_that_timm_drops_and_none_in_evaluation() -> None:
    deeper = TINY | {"depth": 3}
    backbone = create_backbone("deit_tiny_patch16_224", image_hw=(32, 48), drop_path=0.6, args=deeper)
    theirs: Any = timm.create_model(
        "deit_tiny_patch16_224", img_size=(32, 48), dynamic_img_size=True, num_classes=0, drop_path_rate=0.6, **deeper
    )
    theirs.load_state_dict(
        {key.removeprefix(backbone.published_prefix): tensor for key, tensor in backbone.state_dict().items()}
    )
    assert backbone.drop_rates == pytest.approx([0.0, 0.0, 0.3, 0.3, 0.6, 0.6])
    pixels = torch.randn(16, 3, 32, 48, generator=torch.Generator().manual_seed(1))

    def tokens(draws: Tensor | None) -> Tensor:
        request = Request(records=Record.CLASS_ATTENTION, draws=draws)
        patch_tokens: Tensor = backbone(pixels, request).patch_tokens.flatten(1, 2)
        return patch_tokens

    branches = KeptBranches(theirs)
    with torch.inference_mode():
        torch.manual_seed(0)
        expected = theirs.train().forward_features(pixels)[:, 1:]
        # Each draw is in the middle of the draws that keep a branch, or of those that drop it.
        draws = [
            torch.where(kept, (1 + rate) / 2, rate / 2)
            for kept, rate in zip(branches.by_branch, backbone.drop_rates, strict=True)
        ]
        assert not all(kept.all() for kept in branches.by_branch)
        dropped = tokens(torch.stack(draws, dim=1))
        torch.testing.assert_close(dropped, expected, rtol=0, atol=1e-5)
        full = theirs.eval().forward_features(pixels)[:, 1:]
        for backbone.training in (False, True):  # The draws alone decide.
            torch.testing.assert_close(tokens(None), full, rtol=0, atol=1e-5)
        assert not torch.allclose(full, dropped, atol=1e-3)


def test_a_branch_is_dropped_if_its_draw_is_below_its_rate_and_no_generator_is_used() -> None:
    backbone = create_backbone("deit_tiny_patch16_224", image_hw=(32, 48), drop_path=0.5, args=TINY).train()
    pixels = pixels_of(2, 3, patch=16)
    torch.manual_seed(3)
    state = torch.get_rng_state()

    def tokens(attention: float, mlp: float) -> Tensor:
        """Return the tokens with these draws for the second block; the first block has a rate of 0."""
        draws = torch.tensor([[0.0, 0.0, attention, mlp]]).expand(2, 4)
        patch_tokens: Tensor = backbone(pixels, Request(draws=draws)).patch_tokens
        return patch_tokens

    with torch.inference_mode():
        below = float(torch.nextafter(torch.tensor(0.5), torch.tensor(0.0)))
        assert torch.equal(tokens(0.5, 0.0), tokens(0.99, below))
        assert not torch.equal(tokens(0.5, 0.0), tokens(below, 0.0))
        assert not torch.equal(tokens(0.5, 0.5), tokens(0.5, below))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_weight_belongs_to_one_layer_from_the_embedding_to_the_last_norm(name: str) -> None:
    args = TINY | MORE.get(name, {})
    backbone = create_backbone(name, image_hw=(patch_of(name) * 2, patch_of(name) * 3), args=args)
    assert backbone.num_layers == TINY["depth"] + 2
    assert len(backbone.drop_rates) == 2 * TINY["depth"]
    by_layer: dict[int, set[str]] = {}
    for parameter, _ in backbone.named_parameters():
        part = ".".join(parameter.removeprefix("vit.").split(".")[: 2 if ".blocks." in parameter else 1])
        by_layer.setdefault(backbone.layer_index(parameter), set()).add(part)
    assert by_layer[0] <= {"patch_embed", "cls_token", "dist_token", "reg_token", "pos_embed", "rope", "norm_pre"}
    assert {"patch_embed", "cls_token"} <= by_layer[0]
    assert (by_layer[1], by_layer[2]) == ({"blocks.0"}, {"blocks.1"})
    assert by_layer[3] in ({"norm"}, {"fc_norm"}, {"norm", "attn_pool"})
    assert len(by_layer) == 4


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("deit_tiny_patch16_224", (0.485, 0.456, 0.406)),
        ("vit_small_patch16_224", (0.5, 0.5, 0.5)),
        ("vit_small_patch16_224.dino", (0.485, 0.456, 0.406)),
    ],
)
def test_the_tag_decides_how_pixels_are_normalized(name: str, mean: tuple[float, float, float]) -> None:
    assert create_backbone(name, image_hw=(32, 48), args=TINY).mean == mean


def test_all_backbones_are_listed_once_and_sorted() -> None:
    names = list_backbones()
    assert list(names) == sorted(set(names))
    assert {name.split(".")[0] for name in ARCHITECTURES} <= set(names)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deit_smal_patch16_224", "no backbone named 'deit_smal_patch16_224'; did you mean 'deit_small_patch16_224'"),
        ("swin_large", "no backbone named 'swin_large'; `tscam list backbones 'deit"),
        ("", "no backbone named ''; `tscam list backbones"),
        ("../../deit_tiny_patch16_224", "no backbone named '../../deit_tiny_patch16_224'"),
        ("hf-hub:timm/deit_tiny_patch16_224.fb_in1k", "no backbone named 'hf-hub:"),
        (
            "deit_tiny_patch16_224.nowhere",
            r"cannot be built with these arguments: .*Invalid pretrained tag \(nowhere\)",
        ),
    ],
)
def test_an_unknown_or_unsupported_backbone_is_refused_with_advice(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        create_backbone(name, image_hw=(32, 48), args=TINY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("vit_small_patch16_18x2_224", "ParallelThingsBlock"),
        ("vit_dlittle_patch16_reg1_gap_256", "DiffAttention"),
        ("eva02_enormous_patch14_clip_224", "EvaBlockPostNorm"),
    ],
)
def test_unsupported_parts_are_refused(name: str, part: str) -> None:
    with pytest.raises(
        ConfigError, match=f"'{name}' has {part} parts, which are not supported; use another one, such as"
    ):
        create_backbone(name, image_hw=(32, 48), args=TINY)


def test_another_view_size_is_refused_if_position_embeddings_belong_to_one_grid() -> None:
    backbone = create_backbone("beit_base_patch16_224", image_hw=(32, 48), args=TINY)
    with pytest.raises(
        ConfigError, match="a view of 48×32 pixels; this backbone was built for 32×48 and takes no other"
    ):
        backbone(torch.zeros(1, 3, 48, 32), Request())


@pytest.mark.parametrize(
    ("image_hw", "message"),
    [
        ((50, 80), "image size 50 is not a multiple of the patch, 16 pixels; take 48 or 64"),
        ((48, 81), "image size 81 is not a multiple of the patch, 16 pixels; take 80 or 96"),
        ((15, 80), "image size 15 is not a multiple of the patch, 16 pixels; take 16"),
    ],
)
def test_a_view_with_partial_patches_is_refused_at_creation_and_at_the_pass(
    image_hw: tuple[int, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        create_backbone("deit_tiny_patch16_224", image_hw=image_hw, args=TINY)
    backbone = create_backbone("deit_tiny_patch16_224", image_hw=(48, 80), args=TINY)
    with pytest.raises(ConfigError, match=message):
        backbone(torch.zeros(1, 3, *image_hw), Request())


@pytest.mark.parametrize(
    "wrong",
    [
        {"embed_width": 24},
        {"embed_dim": 25},
        {"num_heads": 0},
        {"patch_size": 0},
        {"norm_layer": "nonsense"},
        {"act_layer": "nonsense"},
        {"block_fn": "nonsense"},
        {"class_token": False},
    ],
    ids=str,
)
def test_a_wrong_argument_of_the_architecture_is_one_line(wrong: Mapping[str, int | str | bool]) -> None:
    message = r"'deit_tiny_patch16_224' (does not take these arguments|cannot be built with these arguments): "
    with pytest.raises(ConfigError, match=message) as caught:
        create_backbone("deit_tiny_patch16_224", image_hw=(48, 80), args=TINY | dict(wrong))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"embed_dim": 10**12}, {"num_heads": -4}, {"mlp_ratio": math.inf}], ids=str)
def test_an_argument_that_no_architecture_has_is_refused_before_anything_is_built(
    wrong: Mapping[str, int | float],
) -> None:
    with pytest.raises(ConfigError, match=r"^backbone argument .*; expected an integer from 0 to 65,536, a number"):
        create_backbone("deit_tiny_patch16_224", image_hw=(48, 80), args=TINY | dict(wrong))


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_a_network_of_convolutions_is_built_without_pixels_of_its_view(name: str) -> None:
    devices = set()
    hook = register_module_forward_pre_hook(lambda _, inputs: devices.add(inputs[0].device.type))
    try:
        backbone = create_backbone(name, image_hw=(16_384, 16_384))
    finally:
        hook.remove()
    assert devices == {"meta"}
    assert backbone.patch_hw == create_backbone(name, image_hw=(128, 128)).patch_hw


@pytest.mark.parametrize("name", ["checkpoint_path", "pretrained_cfg", "cache_dir", "device", "img_size", "in_chans"])
def test_an_argument_that_does_not_change_the_architecture_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"argument '{name}' does not change an architecture"):
        create_backbone("deit_tiny_patch16_224", image_hw=(48, 80), args=TINY | {name: "x"})
