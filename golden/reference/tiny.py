"""MobileSAM and LiteMedSAM in PyTorch: SAM's prompt encoder and decoder behind a TinyViT."""
import math

import torch
import torch.nn.functional as F

from layers import Net
from sam import Decoder  # noqa: F401

EPS = 1e-5  # of TinyViT's LayerNorms


class Encoder(Net):
    """image [N,3,S,S] -> image_embeddings [N,C,h,h]."""

    names_in = ["image"]
    names_out = ["image_embeddings"]

    def __init__(self, state):
        super().__init__(state, ("image_encoder.",))

    def normed(self, k, x, stride=1, groups=1):
        """A convolution k.c without bias that keeps the side (divided by the stride), then BatchNorm k.bn."""
        w = self.p(k + ".c.weight")
        return self.bn(k + ".bn", F.conv2d(x, w, None, stride, w.shape[2] // 2, 1, groups))

    def narrows(self, k, x, stride):
        x = F.gelu(self.normed(k + "conv1", x))
        return self.normed(k + "conv3", F.gelu(self.normed(k + "conv2", x, stride, x.shape[1])))

    def windows(self, k, x):
        """Attention of [N,g,g,D] in windows. A grid that they do not divide is padded with zeros before the norm."""
        n, g, _, d = x.shape
        biases = self.p(k + "attention_biases")
        heads, w = biases.shape[0], math.isqrt(biases.shape[1])
        cuts = -(-g // w)
        x = F.pad(x, (0, 0, 0, cuts * w - g, 0, cuts * w - g))
        x = x.view(n, cuts, w, cuts, w, d).transpose(2, 3).reshape(-1, w * w, d)
        x = self.linear(k + "qkv", self.norm(k + "norm", x, EPS)).view(-1, w * w, heads, 3 * d // heads).transpose(1, 2)
        q, key, v = x.split(d // heads, 3)  # each head's rows of qkv stand together
        y, x = torch.arange(w).repeat_interleave(w), torch.arange(w).repeat(w)
        at = (y[:, None] - y).abs() * w + (x[:, None] - x).abs()
        a = (q * (d // heads) ** -0.5) @ key.transpose(2, 3) + biases[:, at]
        x = self.linear(k + "proj", (a.softmax(3) @ v).transpose(1, 2).reshape(-1, w * w, d))
        return x.view(n, cuts, cuts, w, w, d).transpose(2, 3).reshape(n, cuts * w, cuts * w, d)[:, :g, :g]

    def block(self, k, x):
        """x [N,D,g,g]."""
        x = x.permute(0, 2, 3, 1)
        x = (x + self.windows(k + "attn.", x)).permute(0, 3, 1, 2)
        x = self.normed(k + "local_conv", x, groups=x.shape[1]).permute(0, 2, 3, 1)
        y = F.gelu(self.linear(k + "mlp.fc1", self.norm(k + "mlp.norm", x, EPS)))
        return (x + self.linear(k + "mlp.fc2", y)).permute(0, 3, 1, 2)

    def forward(self, image):
        k = "image_encoder."
        stride = 1 if self.p(k + "patch_embed.seq.0.c.weight").shape[2] == 1 else 2
        x = self.normed(k + "patch_embed.seq.2", F.gelu(self.normed(k + "patch_embed.seq.0", image, stride)), stride)
        stages = self.count(k + "layers.")
        for i in range(stages):
            at = f"{k}layers.{i}."
            for j in range(self.count(at + "blocks.")):
                b = f"{at}blocks.{j}."
                x = self.block(b, x) if i else F.gelu(x + self.narrows(b, x, 1))
            if i < stages - 1:
                x = self.narrows(at + "downsample.", x, 1 if self.p(at + "downsample.conv2.c.weight").shape[0] in (320, 448, 576) else 2)
        return self.neck(k + "neck.", x.permute(0, 2, 3, 1))
