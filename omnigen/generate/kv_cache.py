"""Keys and values of the prompt, computed once for all denoising steps.

Condition tokens never see the noise or the time, so what they contribute to each layer is the same at every step: only
the time token and the noisy tokens go through the network again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omnigen.network.attention import Attention, plan_attention, sdpa
from omnigen.network.layout import PackLayout, SampleLayout
from omnigen.network.model import OmniGen


class KVCache:
    """The network with the conditions of some samples already read; gives velocities for noisy targets of theirs."""

    @torch.no_grad()
    def __init__(
        self,
        model: OmniGen,
        samples: Sequence[SampleLayout],
        references: Sequence[Tensor],
        attention: str = "segment",
        keep_on: torch.device | None = None,
    ) -> None:
        """references: latents (C, H, W) of all samples' reference images in reading order, on the model's device.

        keep_on: where keys and values wait until their layer is computed; None: on the model's device.
        """
        self._model, self._samples = model, samples
        device = model.pos_embed.device
        conditions = PackLayout.build(samples, conditions_only=True).to(device)
        plan = plan_attention(conditions, attention)
        self._layers = [_KeptKeys(plan, samples, keep_on or device) for _ in range(model.config.num_layers)]
        hidden_TE = model.stream(
            (
                (conditions.text_index, model.embed_text(conditions)),
                (conditions.reference_index, model.embed_references(conditions, references)),
            )
        )
        model.decode(hidden_TE, model.angles(conditions), [layer.record for layer in self._layers])

    def targets(self, owners: Sequence[int]) -> CachedTargets:
        """Returns what gives the velocities of len(owners) noisy targets, target i under the condition of sample
        owners[i]. A condition may have any number of targets, or none; its keys and values are there once.
        """
        return CachedTargets(self._model, [self._samples[owner] for owner in owners], owners, self._layers)


class CachedTargets:
    """Noisy targets beside conditions that were read before."""

    def __init__(
        self, model: OmniGen, samples: Sequence[SampleLayout], owners: Sequence[int], layers: Sequence[_KeptKeys]
    ) -> None:
        self._model = model
        self._layout = PackLayout.build(samples).to(model.pos_embed.device)
        counts = [sample.length - sample.condition_length for sample in samples]
        self._attends: list[Attention] = [_over(layer, owners, counts) for layer in layers]
        repeated = torch.cat([self._layout.time_index, self._layout.noise_index])
        order = repeated.argsort()
        self._angles = model.angles(self._layout).select(repeated[order])
        # Where each time token, then each noisy token, stands among the tokens that are computed at every step.
        self._time_index, self._noise_index = order.argsort().tensor_split([len(samples)])

    @torch.no_grad()
    def velocities(self, noisy: Sequence[Tensor], timesteps_S: Tensor) -> list[Tensor]:
        """Returns what `OmniGen.forward` returns for these noisy targets (C, H, W) and timesteps, one per target."""
        parts = (
            (self._time_index, self._model.time_token(timesteps_S)),
            (self._noise_index, self._model.embed_noisy(self._layout, noisy)),
        )
        hidden_TE = self._model.decode(self._model.stream(parts), self._angles, self._attends)
        return self._model.velocities(self._layout, hidden_TE[self._noise_index], timesteps_S)


class _KeptKeys:
    """One layer's keys and values of every condition, with room behind them for the tokens of one target."""

    def __init__(self, conditions: Attention, samples: Sequence[SampleLayout], keep_on: torch.device) -> None:
        self._conditions, self._keep_on = conditions, keep_on
        self._lengths = [sample.length for sample in samples]
        self.condition_lengths = [sample.condition_length for sample in samples]
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def record(self, q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor:
        """Attends among the condition tokens, and keeps their keys and values."""
        self.keys, self.values = self._with_room(k_THD), self._with_room(v_THD)
        return self._conditions(q_THD, k_THD, v_THD)

    def _with_room(self, x_THD: Tensor) -> list[Tensor]:
        room = []
        for part, length in zip(torch.split(x_THD, self.condition_lengths), self._lengths):
            whole = part.new_empty(length, *part.shape[1:], device=self._keep_on)
            whole[: len(part)] = part
            room.append(whole)
        return room


def _over(layer: _KeptKeys, owners: Sequence[int], counts: Sequence[int]) -> Attention:
    """Returns attention from every target's time token and noisy tokens (counts[i] in all) to its condition and itself.

    Targets of one condition take turns in the room behind its keys.
    """

    def attend(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor) -> Tensor:
        outputs = []
        for owner, q, k, v in zip(owners, *(torch.split(x, list(counts)) for x in (q_THD, k_THD, v_THD))):
            known = layer.condition_lengths[owner]
            keys, values = (kept[owner].to(q.device) for kept in (layer.keys, layer.values))
            keys[known:] = k
            values[known:] = v
            outputs.append(sdpa(q[:1], keys[: known + 1], values[: known + 1]))
            outputs.append(sdpa(q[1:], keys, values))
        return torch.cat(outputs)

    return attend
