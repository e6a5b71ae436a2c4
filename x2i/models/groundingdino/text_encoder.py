"""BERT as Grounding DINO calls it, on the modules of transformers 5, which groundingdino-py 0.4.0 does not know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any
from unittest.mock import patch

import torch
from transformers import BertConfig, BertModel


class TextEncoder(torch.nn.Module):
    """The part of BERT that the network uses. Its parameters bear the names that they have in the published weights.

    The package's own wrapper asks BERT for `get_head_mask`, which transformers 5 has not, and gives its encoder
    arguments that this one takes no more.
    """

    def __init__(self, bert_model: Any) -> None:
        super().__init__()
        self.config = bert_model.config
        self.embeddings, self.encoder, self.pooler = bert_model.embeddings, bert_model.encoder, bert_model.pooler

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Returns last_hidden_state_BTC. attention_mask: (B, T), or (B, T, T) where each phrase sees itself alone."""
        allowed = attention_mask[:, None] if attention_mask.dim() == 3 else attention_mask[:, None, None]
        hidden_BTC = self.embeddings(input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids)
        bias = torch.zeros(allowed.shape, dtype=hidden_BTC.dtype, device=hidden_BTC.device)
        bias = bias.masked_fill(~allowed.bool(), torch.finfo(hidden_BTC.dtype).min)
        return {"last_hidden_state": self.encoder(hidden_BTC, attention_mask=bias)[0]}


def _empty_bert(folder: str) -> BertModel:
    """Returns a BERT without weights: those of the detector hold its own."""
    return BertModel(BertConfig.from_pretrained(folder))


@contextmanager
def transformers_5() -> Iterator[None]:
    """Lets groundingdino-py build its network on transformers 5, without a word on the screen."""
    from groundingdino.models.GroundingDINO import groundingdino
    from groundingdino.util import get_tokenlizer

    with (
        patch.object(groundingdino, "BertModelWarper", TextEncoder),
        patch.object(get_tokenlizer, "get_pretrained_language_model", _empty_bert),
        redirect_stdout(StringIO()),
    ):
        yield
