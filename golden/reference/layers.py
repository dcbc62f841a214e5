"""What the reference networks share: a state dict under its own names, and SAM's parts as functions of key prefixes."""
import math

import torch
import torch.nn.functional as F


class Net(torch.nn.Module):
    """Holds the floating-point tensors of a state dict in float32. size: S in pixels, where it is not 16 times the embedding's side."""

    size = None

    def __init__(self, state, keep=("",)):
        super().__init__()
        self.names = [k for k in state if k.startswith(keep) and state[k].is_floating_point()]
        for k in self.names:
            self.register_buffer(k.replace(".", "__"), state[k].float())

    def count(self, prefix):
        """The number of children 0, 1, ... below a prefix."""
        return len({k[len(prefix):].split(".")[0] for k in self.names if k.startswith(prefix)})

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

    def norm(self, k, x, eps=1e-6):
        return F.layer_norm(x, (int(self.p(k + ".weight").shape[0]),), self.p(k + ".weight"), self.p(k + ".bias"), eps)

    def norm2d(self, k, x):
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        return (x - u) / torch.sqrt(s + 1e-6) * self.p(k + ".weight")[:, None, None] + self.p(k + ".bias")[:, None, None]

    def bn(self, k, x):
        return F.batch_norm(x, self.p(k + ".running_mean"), self.p(k + ".running_var"), self.p(k + ".weight"), self.p(k + ".bias"))

    def upscale(self, k, x):
        return self.up(k + "3", F.gelu(self.norm2d(k + "1", self.up(k + "0", x))))

    def mlp(self, k, x):
        """Linear layers k.layers.N with ReLU between."""
        n = self.count(k + ".layers.")
        for i in range(n):
            x = self.linear(f"{k}.layers.{i}", x)
            x = F.relu(x) if i < n - 1 else x
        return x

    # The image encoder: tokens [N,g,g,D] under a prefix that ends with a dot.

    def patches(self, vit, image):
        patch = self.p(vit + "patch_embed.proj.weight").shape[2]
        return self.conv(vit + "patch_embed.proj", image, patch).permute(0, 2, 3, 1) + self.p(vit + "pos_embed")

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

    def attend(self, k, y):
        """Attention in the windows that the relative positions' length tells."""
        b, g, _, d = y.shape
        w = (self.p(k + "attn.rel_pos_h").shape[0] + 1) // 2
        if w != g:
            n = math.ceil(g / w)
            y = F.pad(y, (0, 0, 0, n * w - g, 0, n * w - g))
            y = y.view(b, n, w, n, w, d).permute(0, 1, 3, 2, 4, 5).reshape(-1, w, w, d)
            y = self.attention(k + "attn.", y)
            return y.view(b, n, n, w, w, d).permute(0, 1, 3, 2, 4, 5).reshape(b, n * w, n * w, d)[:, :g, :g]
        return self.attention(k + "attn.", y)

    def feed(self, k, y):
        names = ("fc1", "fc2") if self.has(k + "mlp.fc1.weight") else ("lin1", "lin2")
        return self.linear(f"{k}mlp.{names[1]}", F.gelu(self.linear(f"{k}mlp.{names[0]}", y)))

    def adapter(self, k, y):
        """SAM-Med2D's: a gate per channel, a convolution down and one up, the input added, LayerNorm."""
        x = y.permute(0, 3, 1, 2)
        gate = torch.sigmoid(self.linear(k + "channel.2", F.relu(self.linear(k + "channel.0", y.mean((1, 2))))))
        z = F.relu(self.conv(k + "spatial.0", x * gate[:, :, None, None], 2, 1))
        z = F.relu(F.conv_transpose2d(z, self.p(k + "spatial.2.weight"), None, 2, 1))
        return self.norm(k + "norm", (x + z).permute(0, 2, 3, 1), 1e-5)

    def block(self, vit, x, i, eps=1e-6):
        k = f"{vit}blocks.{i}."
        x = x + self.attend(k, self.norm(k + "norm1", x, eps))
        y = self.norm(k + "norm2", x, eps)
        z = x + self.feed(k, y)
        return z + self.adapter(k + "Adapter.", y) if self.has(k + "Adapter.norm.weight") else z

    def neck(self, k, x):
        return self.norm2d(k + "3", self.conv(k + "2", self.norm2d(k + "1", self.conv(k + "0", x.permute(0, 3, 1, 2))), 1, 1))

    # The prompt encoder, S pixels a side.

    def position(self, k, c):
        c = 2 * math.pi * ((2 * c - 1) @ self.p(k + "pe_layer.positional_encoding_gaussian_matrix"))
        return torch.cat([c.sin(), c.cos()], -1)

    def sparse(self, k, coords, labels, size):
        """Points [B,P,2] in pixels with labels [B,P]: -1 padding, 0 and 1 clicks, 2 and 3 box corners."""
        y = self.position(k, (coords + 0.5) / size)
        labels = labels[..., None]
        y = torch.where(labels == -1, torch.zeros_like(y), y) + (labels == -1) * self.p(k + "not_a_point_embed.weight")
        for i in range(4):
            y = y + (labels == i) * self.p(f"{k}point_embeddings.{i}.weight")
        return y

    def dense(self, k, mask, has):
        y = F.gelu(self.norm2d(k + "mask_downscaling.1", self.conv(k + "mask_downscaling.0", mask, 2)))
        y = F.gelu(self.norm2d(k + "mask_downscaling.4", self.conv(k + "mask_downscaling.3", y, 2)))
        y = self.conv(k + "mask_downscaling.6", y)
        return has * y + (1 - has) * self.p(k + "no_mask_embed.weight").reshape(1, -1, 1, 1)

    def grid(self, k, h):
        at = (torch.arange(h, dtype=torch.float32) + 0.5) / h
        y, x = torch.meshgrid(at, at, indexing="ij")
        return self.position(k, torch.stack([x, y], -1)).reshape(1, h * h, -1)

    # The two-way transformer, 8 heads.

    def cross(self, k, q, key, value, heads=8):
        q, key, value = (self.linear(f"{k}.{n}_proj", x) for n, x in (("q", q), ("k", key), ("v", value)))
        d = q.shape[-1] // heads
        q, key, value = (x.reshape(x.shape[0], x.shape[1], heads, d).transpose(1, 2) for x in (q, key, value))
        y = (q @ key.transpose(-2, -1) / math.sqrt(d)).softmax(-1) @ value
        return self.linear(k + ".out_proj", y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1))

    def twoway(self, k, image, position, tokens):
        q, key = tokens, image
        for i in range(self.count(k + "layers.")):
            at = f"{k}layers.{i}."
            lin = ("lin1", "lin2")
            if self.has(at + "mlp.fc.weight"):  # Medical-SAM-Adapter's: the positions stay in the residual, which the first layer has, too
                lin, q = ("layers.0.0", "fc"), q + tokens if i else q
                q = q + self.cross(at + "self_attn", q, q, q)
            else:
                q = q + self.cross(at + "self_attn", q + tokens, q + tokens, q) if i else self.cross(at + "self_attn", q, q, q)
            q = self.norm(at + "norm1", q, 1e-5)
            q = self.norm(at + "norm2", q + self.cross(at + "cross_attn_token_to_image", q + tokens, key + position, key), 1e-5)
            q = self.norm(at + "norm3", q + self.linear(at + "mlp." + lin[1], F.relu(self.linear(at + "mlp." + lin[0], q))), 1e-5)
            key = self.norm(at + "norm4", key + self.cross(at + "cross_attn_image_to_token", key + position, q + tokens, q), 1e-5)
        q = q + self.cross(k + "final_attn_token_to_image", q + tokens, key + position, key)
        return self.norm(k + "norm_final_attn", q, 1e-5), key

    def decode(self, k, prompts, embedding, coords, labels, mask, has, learned, extra=None):
        """Learned tokens [T,C] first, then the prompts', then one more [B,C]: the tokens [B,..,C] and the upscaled map [B,C/8,4h,4h]."""
        h = embedding.shape[-1]
        sparse = self.sparse(prompts, coords, labels, self.size or 16 * h)
        tokens = [learned.expand(sparse.shape[0], -1, -1), sparse] + ([] if extra is None else [extra[:, None]])
        image = (embedding + self.dense(prompts, mask, has)).flatten(2).transpose(1, 2)
        q, key = self.twoway(k + "transformer.", image, self.grid(prompts, h), torch.cat(tokens, 1))
        return q, F.gelu(self.upscale(k + "output_upscaling.", self.plane(key, h)))

    def masks(self, k, q, y):
        """SAM's masks [B,M,4h,4h] of the tokens behind the first."""
        n = self.p(k + "mask_tokens.weight").shape[0]
        v = torch.stack([self.mlp(f"{k}output_hypernetworks_mlps.{i}", q[:, 1 + i]) for i in range(n)], 1)
        return torch.einsum("bmc,bchw->bmhw", v, y)

    def maskfeature(self, k, y):
        return self.conv(k + "3", F.gelu(self.norm2d(k + "1", self.conv(k + "0", y, 1, 1))), 1, 1)

    def plane(self, x, h):
        return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], h, h)
