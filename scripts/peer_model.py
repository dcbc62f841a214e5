"""SyncSAM's encoder in PyTorch, for the peers' benchmark and as a reference at other widths: a state dict and F.* calls."""
import math

import torch
import torch.nn.functional as F


class Encoder(torch.nn.Module):
    """image [N,3,S,S] -> image_embeddings [N,C,h,h], multi_scale_features [N,C/8,4h,4h]."""

    def __init__(self, state):
        super().__init__()
        keep = ("image_encoder.", "resnet.", "adapters_in.", "adapters_bridge.", "embedding_encoder.")
        self.names = [k for k in state if k.startswith(keep) and state[k].is_floating_point()]
        for k in self.names:
            self.register_buffer(k.replace(".", "__"), state[k].float())
        self.vit = "image_encoder.sam_img_encoder."
        self.depth = 1 + max(int(k.split(".")[3]) for k in self.names if k.startswith(self.vit + "blocks."))
        self.blocks = [1 + max(int(k.split(".")[2]) for k in self.names if k.startswith(f"resnet.stage{i}.")) for i in range(1, 5)]

    def has(self, k):
        return k in self.names

    def p(self, k):
        return getattr(self, k.replace(".", "__")) if self.has(k) else None

    def linear(self, k, x):
        return F.linear(x, self.p(k + ".weight"), self.p(k + ".bias"))

    def conv(self, k, x, stride=1, pad=0):
        return F.conv2d(x, self.p(k + ".weight"), self.p(k + ".bias"), stride, pad)

    def up(self, k, x):
        return F.conv_transpose2d(x, self.p(k + ".weight"), self.p(k + ".bias"), 2)

    def norm(self, k, x):
        return F.layer_norm(x, (int(self.p(k + ".weight").shape[0]),), self.p(k + ".weight"), self.p(k + ".bias"), 1e-6)

    def norm2d(self, k, x):
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        return (x - u) / torch.sqrt(s + 1e-6) * self.p(k + ".weight")[:, None, None] + self.p(k + ".bias")[:, None, None]

    def bn(self, k, x):
        return F.batch_norm(x, self.p(k + ".running_mean"), self.p(k + ".running_var"), self.p(k + ".weight"), self.p(k + ".bias"))

    def residual(self, k, x, stride):
        y = F.relu(self.bn(k + "bn1", self.conv(k + "conv1", x, *((1, 0) if self.has(k + "conv3.weight") else (stride, 1)))))
        if self.has(k + "conv3.weight"):
            y = F.relu(self.bn(k + "bn2", self.conv(k + "conv2", y, stride, 1)))
            y = self.bn(k + "bn3", self.conv(k + "conv3", y))
        else:
            y = self.bn(k + "bn2", self.conv(k + "conv2", y, 1, 1))
        if self.has(k + "downsample.0.weight"):
            x = self.bn(k + "downsample.1", self.conv(k + "downsample.0", x, stride))
        return F.relu(x + y)

    def attention(self, k, x):
        b, h, w, d = x.shape
        rel_h, rel_w = self.p(k + "rel_pos_h"), self.p(k + "rel_pos_w")
        hd = rel_h.shape[1]
        heads = d // hd
        q, key, v = self.linear(k + "qkv", x).reshape(b, h * w, 3, heads, hd).permute(2, 0, 3, 1, 4).reshape(3, b * heads, h * w, hd).unbind(0)
        a = (q * hd**-0.5) @ key.transpose(-2, -1)
        at = torch.arange(h)[:, None] - torch.arange(h)[None, :] + h - 1
        grid = q.reshape(b * heads, h, w, hd)
        a = a.view(-1, h, w, h, w) + torch.einsum("bhwc,hkc->bhwk", grid, rel_h[at])[..., None] + torch.einsum("bhwc,wkc->bhwk", grid, rel_w[at])[:, :, :, None]
        y = a.view(-1, h * w, h * w).softmax(-1) @ v
        return self.linear(k + "proj", y.view(b, heads, h, w, hd).permute(0, 2, 3, 1, 4).reshape(b, h, w, d))

    def block(self, x, i):
        k = f"{self.vit}blocks.{i}."
        y = self.norm(k + "norm1", x)
        b, g, _, d = x.shape
        w = (self.p(k + "attn.rel_pos_h").shape[0] + 1) // 2
        if w < g:
            n = math.ceil(g / w)
            y = F.pad(y, (0, 0, 0, n * w - g, 0, n * w - g))
            y = y.view(b, n, w, n, w, d).permute(0, 1, 3, 2, 4, 5).reshape(-1, w, w, d)
            y = self.attention(k + "attn.", y)
            y = y.view(b, n, n, w, w, d).permute(0, 1, 3, 2, 4, 5).reshape(b, n * w, n * w, d)[:, :g, :g]
        else:
            y = self.attention(k + "attn.", y)
        x = x + y
        return x + self.linear(k + "mlp.lin2", F.gelu(self.linear(k + "mlp.lin1", self.norm(k + "norm2", x))))

    def reshaper(self, k, x):
        i = 0
        while True:
            size = self.p(f"{k}{i}.weight").shape[2]
            if size == 1:
                return self.conv(f"{k}{i}", x)
            x = self.conv(f"{k}{i}", x, 2, 1) if size == 3 else self.up(f"{k}{i}", x)
            x = F.gelu(self.norm2d(f"{k}{i + 1}", x))
            i += 3

    def upscale(self, k, x):
        return self.up(k + "3", F.gelu(self.norm2d(k + "1", self.up(k + "0", x))))

    def forward(self, image):
        f = F.max_pool2d(F.relu(self.bn("resnet.stage0.1", self.conv("resnet.stage0.0", image, 2, 3))), 3, 2, 1)
        patch = self.p(self.vit + "patch_embed.proj.weight").shape[2]
        x = self.conv(self.vit + "patch_embed.proj", image, patch).permute(0, 2, 3, 1) + self.p(self.vit + "pos_embed")
        per, bridges = self.depth // 4, []
        for i in range(4):
            for j in range(per - 1):
                x = self.block(x, i * per + j)
            for j in range(self.blocks[i]):
                f = self.residual(f"resnet.stage{i + 1}.{j}.", f, 2 if i > 0 and j == 0 else 1)
            x = x + self.reshaper(f"adapters_in.{i}.reshaper.", f).permute(0, 2, 3, 1)
            x = self.block(x, i * per + per - 1)
            if i < 3:
                bridges.append(self.upscale(f"adapters_bridge.{2 - i}.", x.permute(0, 3, 1, 2)))
        k = self.vit + "neck."
        x = self.norm2d(k + "3", self.conv(k + "2", self.norm2d(k + "1", self.conv(k + "0", x.permute(0, 3, 1, 2))), 1, 1))
        m = self.upscale("embedding_encoder.", x)
        for b in bridges:
            m = m + b
        return x, m
