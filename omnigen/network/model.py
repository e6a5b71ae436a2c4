"""OmniGen (arXiv 2409.11340): a Phi-3 decoder that reads text, images and noise in one sequence and predicts velocity.

Parameter names are those of the published checkpoint. Everything works on packs (`layout.py`): samples of any task,
size and number of images end to end, never padded.

Suffixes: T tokens of the pack, E hidden size, S samples, C H W a latent image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omnigen.network.attention import Attention, plan_attention
from omnigen.network.blocks import Block, Checkpointing
from omnigen.network.config import ModelConfig
from omnigen.network.embedders import (
    FinalLayer,
    PatchEmbed,
    TimestepEmbedder,
    crop_positions,
    position_table,
    unpatchify,
)
from omnigen.network.fused import RMSNorm
from omnigen.network.layout import Grid, PackLayout
from omnigen.network.rope import Rotation, rotation


class Decoder(nn.Module):
    """The parameters of Phi-3 without its language head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class OmniGen(nn.Module):
    """The network. Works in float32, in float32 under bf16 autocast, and in bf16; velocities come out in float32.
    Under autocast, as in bf16, what flows from layer to layer is bf16.

    Parameters hold torch's defaults after construction: call `init_weights` to train from scratch, or load weights.
    May be constructed on the meta device; after `to_empty` call `init_weights`, or load and call `init_buffers`.
    """

    pos_embed: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        hidden_size, channels, patch = config.hidden_size, config.in_channels, config.patch_size
        self.x_embedder = PatchEmbed(channels, hidden_size, patch)
        self.input_x_embedder = PatchEmbed(channels, hidden_size, patch)
        self.time_token = TimestepEmbedder(hidden_size)
        self.t_embedder = TimestepEmbedder(hidden_size)
        self.final_layer = FinalLayer(hidden_size, patch, channels)
        self.llm = Decoder(config)
        self.register_buffer("pos_embed", position_table(hidden_size, config.pos_embed_max_size))

    @classmethod
    def initialized(cls, config: ModelConfig, seed: int, device: torch.device | str = "cpu") -> OmniGen:
        """Returns a network in float32 with fresh weights, which depend on `config` and `seed` alone."""
        with torch.device("meta"):
            model = cls(config)
        model.to_empty(device="cpu")
        model.init_weights(torch.Generator().manual_seed(seed))
        return model.to(device)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Initializes for training from scratch: Xavier-uniform linears and patch embeddings, N(0, 0.02) token and time
        embeddings, zero biases, unit norms, and a zero final layer, so that the first prediction is zero everywhere.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight.flatten(1), generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.RMSNorm):
                nn.init.ones_(module.weight)
        nn.init.normal_(self.llm.embed_tokens.weight, std=0.02, generator=generator)
        for embedder in (self.time_token, self.t_embedder):
            for layer in embedder.mlp:
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=0.02, generator=generator)
        for parameter in self.final_layer.parameters():
            nn.init.zeros_(parameter)
        self.init_buffers()

    @torch.no_grad()
    def init_buffers(self) -> None:
        """Computes the fixed position table again: after `to_empty`, or where a checkpoint leaves it out."""
        self.pos_embed.copy_(position_table(self.config.hidden_size, self.config.pos_embed_max_size))

    def forward(
        self,
        layout: PackLayout,
        references: Sequence[Tensor],
        noisy: Sequence[Tensor],
        timesteps_S: Tensor,
        attention: str = "segment",
        checkpointing: Checkpointing = "none",
    ) -> list[Tensor]:
        """Predicts the velocity of every sample's target.

        layout: of the pack, on the network's device. references: latents (C, H, W) of all reference images in reading
        order. noisy: one latent (C, H, W) per sample, t * data + (1 - t) * noise. timesteps_S: t in [0, 1], one per
        sample. attention: see `attention.py`. checkpointing: what the backward pass computes again to save memory:
        `none`, `selective` (of every layer what follows attention) or `full` (every layer whole).

        Returns one velocity (C, H, W) per sample, float32.
        """
        angles = self.angles(layout)
        attend = plan_attention(layout, attention)
        parts = (
            (layout.text_index, self.embed_text(layout)),
            (layout.reference_index, self.embed_references(layout, references)),
            (layout.time_index, self.time_token(timesteps_S)),
            (layout.noise_index, self.embed_noisy(layout, noisy)),
        )
        hidden_TE = self.stream(parts)
        hidden_TE = self.decode(hidden_TE, angles, [attend] * self.config.num_layers, checkpointing)
        return self.velocities(layout, hidden_TE[layout.noise_index], timesteps_S)

    def stream(self, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Returns the tokens that enter the first layer, (T, E), in the precision of the matrix products.

        parts: embeddings of several kinds, each (index, (count, E)); the indices cover 0 to T - 1 once.
        """
        device = parts[0][1].device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else self.llm.embed_tokens.weight.dtype
        index_T = torch.cat([index for index, _ in parts])
        tokens_TE = torch.cat([tokens.to(dtype) for _, tokens in parts])
        return torch.empty_like(tokens_TE).index_copy(0, index_T, tokens_TE)

    def angles(self, layout: PackLayout) -> Rotation:
        """Returns the rotary angles of every token of the pack."""
        return rotation(self.config, layout.position_T, layout.sample_T, layout.length_S, layout.longest)

    def embed_text(self, layout: PackLayout) -> Tensor:
        """Returns the embeddings of the text tokens, in the order of `text_index`."""
        out: Tensor = self.llm.embed_tokens(layout.token_ids_T[layout.text_index])
        return out

    def embed_references(self, layout: PackLayout, references: Sequence[Tensor]) -> Tensor:
        """Returns the embeddings of the reference images' tokens, in the order of `reference_index`."""
        return self._embed_images(self.input_x_embedder, layout.reference_grids, references)

    def embed_noisy(self, layout: PackLayout, noisy: Sequence[Tensor]) -> Tensor:
        """Returns the embeddings of the noisy targets' tokens, in the order of `noise_index`."""
        return self._embed_images(self.x_embedder, layout.target_grids, noisy)

    def decode(
        self,
        hidden_TE: Tensor,
        angles: Rotation,
        attends: Sequence[Attention],
        checkpointing: Checkpointing = "none",
    ) -> Tensor:
        """Runs all layers, each with its own attention, and the last norm."""
        for layer, attend in zip(self.llm.layers, attends, strict=True):
            hidden_TE = layer(hidden_TE, angles, attend, checkpointing)
        out: Tensor = self.llm.norm(hidden_TE)
        return out

    def velocities(self, layout: PackLayout, hidden_NE: Tensor, timesteps_S: Tensor) -> list[Tensor]:
        """Returns one velocity (C, H, W) per sample from the decoded noisy tokens."""
        sample_N = layout.sample_T[layout.noise_index]
        tokens_NP = self.final_layer(hidden_NE, self.t_embedder(timesteps_S), sample_N).float()
        images = tokens_NP.split([grid.num_tokens for grid in layout.target_grids])
        return [unpatchify(image, grid, self.config.patch_size) for image, grid in zip(images, layout.target_grids)]

    def _embed_images(self, embedder: nn.Module, grids: Sequence[Grid], latents: Sequence[Tensor]) -> Tensor:
        patch = self.config.patch_size
        expected = [(self.config.in_channels, grid.rows * patch, grid.columns * patch) for grid in grids]
        found = [tuple(latent.shape) for latent in latents]
        assert found == expected, f"latents of shapes {found}, but the layout has {expected}"
        tokens: Tensor = embedder(latents)
        if not grids:
            return tokens
        positions = torch.cat([crop_positions(self.pos_embed, grid) for grid in grids])
        return tokens + positions.to(tokens.dtype)
