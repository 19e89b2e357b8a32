"""A sentence encoder: MiniLM-L6 or another BERT, from a folder or the package that has it; nothing is downloaded.

Axes: N text, E feature, T token.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float16

from vps_ml.artefacts import Artefacts
from vps_ml.cards import Contents, identity
from vps_ml.recipes import ENCODER_FILES, WordsRecipe, encoder_folder

if TYPE_CHECKING:
    import torch

CODE_VERSION = "1"
MOST_TOKENS = 128
AT_ONCE = 64
STATE = "state"


def stored(recipe: WordsRecipe, artefacts: Artefacts) -> str | None:
    """The id of the encoder's artefact, None without one: it is kept, as what models were trained on is."""
    folder = encoder_folder(recipe)
    if folder is None:
        return None
    encoder_id = identity("encoder", CODE_VERSION, recipe.encoder_digest)

    def fill() -> Contents:
        from safetensors.numpy import load_file

        config, tokenizer, state = (folder / name for name in ENCODER_FILES)
        texts = {path.stem: path.read_text() for path in (config, tokenizer)}
        return Contents({"kind": "encoder", "digest": recipe.encoder_digest}, {STATE: load_file(state)}, texts=texts)

    return artefacts.models.make(encoder_id, fill)


class Encoder:
    """A BERT and its tokenizer; a text is the mean of its tokens' last states, of length one (Sentence-BERT, 2019)."""

    def __init__(self, network: "torch.nn.Module", tokenizer: object, width: int) -> None:
        self.network, self.tokenizer, self.width = network, tokenizer, width

    @classmethod
    def load(cls, artefacts: Artefacts, encoder_id: str) -> "Encoder":
        """Read a stored encoder."""
        import torch
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        from vps_ml.backbones.networks import accelerator

        config = BertConfig(**json.loads(artefacts.models.text(encoder_id, "config")))
        network = BertModel(config, add_pooling_layer=False)
        arrays = artefacts.models.arrays(encoder_id, STATE)
        state = {name: torch.from_numpy(value) for name, value in arrays.items() if "pooler." not in name}
        state = {name.removeprefix("bert."): value for name, value in state.items()}
        result = network.load_state_dict(state, strict=False)
        if result.missing_keys:
            missing = ", ".join(result.missing_keys[:3])
            raise ValueError(f"encoder {encoder_id} is no BERT that can be read: its weights lack {missing} …")
        tokenizer = Tokenizer.from_str(artefacts.models.text(encoder_id, "tokenizer"))
        tokenizer.enable_truncation(MOST_TOKENS)
        tokenizer.enable_padding()
        return cls(network.eval().to(accelerator()), tokenizer, config.hidden_size)

    def encode(self, texts: Sequence[str]) -> Float16[np.ndarray, "N E"]:
        """The texts' features, half precision; zeros for an empty text. Texts of a length are encoded together."""
        import torch

        from vps_ml.backbones.networks import autocast

        out = np.zeros((len(texts), self.width), dtype=np.float16)
        order = sorted((n for n, text in enumerate(texts) if text), key=lambda n: len(texts[n]))
        device = next(self.network.parameters()).device
        for start in range(0, len(order), AT_ONCE):
            numbers = order[start : start + AT_ONCE]
            tokens = self.tokenizer.encode_batch([texts[n] for n in numbers])  # type: ignore[attr-defined]
            ids, mask = (
                torch.tensor([getattr(one, name) for one in tokens], device=device)
                for name in ("ids", "attention_mask")
            )
            with torch.inference_mode(), autocast(device):
                states = self.network(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            weight = mask[..., None].float()
            mean = (states * weight).sum(dim=1) / weight.sum(dim=1)
            out[numbers] = torch.nn.functional.normalize(mean, dim=1).half().cpu().numpy()
        return out
