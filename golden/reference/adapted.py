"""Medical-SAM-Adapter in PyTorch, of every era: two adapters in each block of SAM's encoder; the decoder's transformer is in layers.py."""
import math

import torch
import torch.nn.functional as F

from layers import Net
from sam import Decoder  # noqa: F401


class Encoder(Net):
    """image [N,3,S,S] -> image_embeddings [N,C,h,h]."""

    names_in = ["image"]
    names_out = ["image_embeddings"]

    def __init__(self, state):
        super().__init__(state, ("image_encoder.",))

    def bottleneck(self, k, x):
        return self.linear(k + ".D_fc2", F.gelu(self.linear(k + ".D_fc1", x)))

    def scores(self, k, x):
        """Softmax attention of [B,w,w,D] with the tables of the era, or none."""
        b, w, _, d = x.shape
        name = next((n for n in ("rel_", "rel_pos_") if self.has(k + n + "h")), None)
        if name is None:
            hd = 64
        else:
            rel = self.p(k + name + "h"), self.p(k + name + "w")
            hd = rel[0].shape[1]
        q, key, v = self.linear(k + "qkv", x).reshape(b, w * w, 3, d // hd, hd).permute(2, 0, 3, 1, 4)
        a = q @ key.transpose(2, 3) / math.sqrt(hd)
        if name is not None:
            at = torch.arange(w)[:, None] - torch.arange(w) + w - 1
            tables = [t[at] for t in rel]
            grid = q.reshape(b, d // hd, w, w, hd)
            vertical = (grid[:, :, :, :, None] * tables[0][:, None]).sum(-1)
            horizontal = (grid[:, :, :, :, None] * tables[1][None]).sum(-1)
            a = (a.view(b, d // hd, w, w, w, w) + vertical[..., None] + horizontal[:, :, :, :, None]).flatten(4).flatten(2, 3)
        return self.linear(k + "proj", (a.softmax(3) @ v).transpose(1, 2).reshape(b, w, w, d))

    def side(self, k, i, depth, g):
        """The window's side of block i; where no table tells it 14, or the grid in the last block of each quarter."""
        for name in ("rel_h", "rel_pos_h"):
            if self.has(f"{k}attn.{name}"):
                return (self.p(f"{k}attn.{name}").shape[0] + 1) // 2
        return g if (i + 1) % (depth // 4) == 0 else 14

    def forward(self, image):
        vit = "image_encoder."
        patch = self.p(vit + "patch_embed.proj.weight").shape[2]
        x = self.conv(vit + "patch_embed.proj", image, patch).permute(0, 2, 3, 1)
        g, pos = x.shape[1], self.p(vit + "pos_embed")
        if pos.shape[1] != g:
            pos = F.interpolate(pos.permute(0, 3, 1, 2), (g, g), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
        x, depth = x + pos, self.count(vit + "blocks.")
        for i in range(depth):
            k = f"{vit}blocks.{i}."
            w, n, d = self.side(k, i, depth, g), x.shape[0], x.shape[3]
            cuts = -(-g // w)
            y = F.pad(x, (0, 0, 0, cuts * w - g, 0, cuts * w - g)).view(n, cuts, w, cuts, w, d).transpose(2, 3).reshape(-1, w, w, d)
            y = self.scores(k + "attn.", self.norm(k + "norm1", y))  # padding goes through the norm
            y = y + self.bottleneck(k + "Space_Adapter", y)
            x = x + y.view(n, cuts, cuts, w, w, d).transpose(2, 3).reshape(n, cuts * w, cuts * w, d)[:, :g, :g]
            y = self.norm(k + "norm2", x)
            x = x + self.feed(k, y) + 0.5 * self.bottleneck(k + "MLP_Adapter", y)
        return self.neck(vit + "neck.", x)
