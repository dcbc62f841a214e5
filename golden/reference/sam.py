"""SAM in PyTorch, and what has its layout: MedSAM, FT-SAM, ScribblePrompt-SAM; SAM-Med2D (adapters), SAM-HQ (a fifth mask)."""
import torch
import torch.nn.functional as F

from layers import Net


def resized(state, vit, size, cubic=False):
    """A state dict whose positions fit images of another size: bilinear, or timm's antialiased bicubic."""
    pos = state[vit + "pos_embed"]
    grid, to = pos.shape[1], size // state[vit + "patch_embed.proj.weight"].shape[2]
    mode = {"mode": "bicubic", "antialias": True} if cubic else {"mode": "bilinear"}
    state = dict(state)
    state[vit + "pos_embed"] = F.interpolate(pos.permute(0, 3, 1, 2), (to, to), align_corners=False, **mode).permute(0, 2, 3, 1)
    for k, rel in state.items():
        if "rel_pos" in k and rel.shape[0] == 2 * grid - 1:
            state[k] = F.interpolate(rel.T[None], 2 * to - 1, mode="linear")[0].T
    return state


def with_samed(state, lora):
    """A base's image encoder with SAMed's file: pair 2i adds to block i's queries, 2i+1 to its values; all else is the file's."""
    out = {k: v for k, v in state.items() if k.startswith("image_encoder.")}
    for k in [k for k in lora if k.startswith("w_a_")]:
        i = int(k[4:])
        key = f"image_encoder.blocks.{i // 2}.attn.qkv.weight"
        w, d = out[key].clone(), out[key].shape[1]
        w[2 * d * (i % 2):][:d] += lora[k.replace("_a_", "_b_")] @ lora[k]
        out[key] = w
    return out | {k: v for k, v in lora.items() if k[:4] not in ("w_a_", "w_b_")}


class Encoder(Net):
    """image [N,3,S,S] -> image_embeddings [N,C,h,h]; SAM-HQ's also interm_embeddings [N,h,h,D], the first global block's tokens."""

    names_in = ["image"]
    names_out = ["image_embeddings", "interm_embeddings"]

    def __init__(self, state):
        super().__init__(state, ("image_encoder.",))
        self.hq = "mask_decoder.hf_token.weight" in state

    def forward(self, image):
        vit = "image_encoder."
        x, interm = self.patches(vit, image), None
        for i in range(self.count(vit + "blocks.")):
            x = self.block(vit, x, i)
            if interm is None and self.p(f"{vit}blocks.{i}.attn.rel_pos_h").shape[0] == 2 * x.shape[1] - 1:
                interm = x
        y = self.neck(vit + "neck.", x)
        return (y, interm) if self.hq else y


class Decoder(Net):
    """Embeddings of one image and B prompts of P points -> low_res_masks [B,M,4h,4h] (SAM-HQ: M+1, the HQ mask last), iou_predictions [B,M]."""

    names_in = ["image_embeddings", "interm_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input"]
    names_out = ["low_res_masks", "iou_predictions"]

    def __init__(self, state):
        super().__init__(state, ("prompt_encoder.", "mask_decoder."))

    def forward(self, embedding, interm, coords, labels, mask, has):
        """interm is None but for SAM-HQ."""
        k = "mask_decoder."
        learned = torch.cat([self.p(k + n + ".weight") for n in ("iou_token", "mask_tokens", "hf_token") if self.has(k + n + ".weight")])
        q, y = self.decode(k, "prompt_encoder.", embedding, coords, labels, mask, has, learned)
        masks = self.masks(k, q, y)
        if interm is not None:
            fine = self.upscale(k + "embedding_encoder.", embedding) + self.upscale(k + "compress_vit_feat.", interm.permute(0, 3, 1, 2))
            token = self.mlp(k + "hf_mlp", q[:, learned.shape[0] - 1:learned.shape[0]])
            masks = torch.cat([masks, torch.einsum("bmc,bchw->bmhw", token, self.maskfeature(k + "embedding_maskfeature.", y) + fine)], 1)
        return masks, self.mlp(k + "iou_prediction_head", q[:, 0])
