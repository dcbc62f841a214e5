"""IMIS-Net in PyTorch: timm's SAM ViT (LayerNorm epsilon 1e-5) with a neck of its own, semantic tokens, text prompts through CLIP's text model."""
import math

import torch
import torch.nn.functional as F

from layers import Net


class Encoder(Net):
    """image [N,3,S,S] -> image_embeddings [N,C,h,h]."""

    names_in = ["image"]
    names_out = ["image_embeddings"]

    def __init__(self, state):
        super().__init__(state, ("image_encoder.",))

    def forward(self, image):
        vit = "image_encoder.sam_encoder."
        x = self.patches(vit, image)
        for i in range(self.count(vit + "blocks.")):
            x = self.block(vit, x, i, 1e-5)
        return self.neck("image_encoder.neck.", x)


class Decoder(Net):
    """Embeddings of one image and B prompts of P points -> low_res_masks [B,M,4h,4h], iou_predictions [B,M], semantic_pred [B,M,K]."""

    names_in = ["image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input"]
    names_out = ["low_res_masks", "iou_predictions", "semantic_pred"]

    def __init__(self, state):
        super().__init__(state, ("prompt_encoder.", "mask_decoder."))

    def forward(self, embedding, coords, labels, mask, has, text=None):
        k = "mask_decoder."
        learned = torch.cat([self.p(k + n + ".weight") for n in ("iou_token", "mask_tokens", "semantic_tokens")])
        q, y = self.decode(k, "prompt_encoder.", embedding, coords, labels, mask, has, learned, text)
        masks = self.masks(k, q, y)
        if text is not None:
            masks = masks + torch.einsum("bc,bchw->bhw", self.linear(k + "text_output", text), y)[:, None]
        m = masks.shape[1]
        return masks, self.mlp(k + "iou_prediction_head", q[:, 0]), self.mlp(k + "semantic_prediction_head", q[:, 1 + m:learned.shape[0]])


class TextDecoder(Decoder):
    """The same with text_embedding [B,C]."""

    names_in = Decoder.names_in + ["text_embedding"]


class Text(Net):
    """input_ids [B,T] -> text_embedding [B,C]: CLIP's text model, 8 heads, read at the first end token."""

    names_in = ["input_ids"]
    names_out = ["text_embedding"]

    def __init__(self, state):
        super().__init__(state, ("text_model.", "text_out_dim."))
        self.root = "text_model." + ("text_model." if self.has("text_model.text_model.final_layer_norm.weight") else "")

    def forward(self, ids):
        k, (b, t) = self.root, ids.shape
        x = self.p(k + "embeddings.token_embedding.weight")[ids] + self.p(k + "embeddings.position_embedding.weight")[:t]
        causal = torch.full((t, t), -math.inf).triu(1)
        for i in range(self.count(k + "encoder.layers.")):
            at = f"{k}encoder.layers.{i}."
            y = self.norm(at + "layer_norm1", x, 1e-5)
            q, key, v = (self.linear(f"{at}self_attn.{n}_proj", y).view(b, t, 8, -1).transpose(1, 2) for n in "qkv")
            y = (q @ key.transpose(-2, -1) / math.sqrt(q.shape[-1]) + causal).softmax(-1) @ v
            x = x + self.linear(at + "self_attn.out_proj", y.transpose(1, 2).reshape(b, t, -1))
            y = self.linear(at + "mlp.fc1", self.norm(at + "layer_norm2", x, 1e-5))
            x = x + self.linear(at + "mlp.fc2", y * torch.sigmoid(1.702 * y))
        x = self.norm(k + "final_layer_norm", x, 1e-5)
        return self.linear("text_out_dim", x[torch.arange(b), (ids == 49407).int().argmax(1)])
