"""Random state dicts of every family at random widths and depths, for the peers' tests."""
import math

import torch


class Shapes(dict):
    """Names and shapes of a state dict under construction."""

    def linear(self, k, o, i, bias=True):
        self[k + ".weight"] = (o, i)
        if bias:
            self[k + ".bias"] = (o,)

    def conv(self, k, o, i, size, bias=True):
        self[k + ".weight"] = (o, i, size, size)
        if bias:
            self[k + ".bias"] = (o,)

    def up(self, k, i, o):
        self[k + ".weight"], self[k + ".bias"] = (i, o, 2, 2), (o,)

    def norm(self, k, c):
        self[k + ".weight"], self[k + ".bias"] = (c,), (c,)

    def bn(self, k, c):
        self.norm(k, c)
        self[k + ".running_mean"], self[k + ".running_var"], self[k + ".num_batches_tracked"] = (c,), (c,), ()

    def mlp(self, k, *sizes):
        for i in range(len(sizes) - 1):
            self.linear(f"{k}.layers.{i}", sizes[i + 1], sizes[i])

    def upscale(self, k, i, m, o):
        self.up(k + ".0", i, m)
        self.norm(k + ".1", m)
        self.up(k + ".3", m, o)

    def neck(self, k, d, c):
        self.conv(k + ".0", c, d, 1, False)
        self.norm(k + ".1", c)
        self.conv(k + ".2", c, c, 3, False)
        self.norm(k + ".3", c)

    def vit(self, k, z, linears=("lin1", "lin2"), adapter=False):
        """The image encoder of sizes z, with window attention but in z.globals."""
        d = z.dim
        self[k + "pos_embed"] = (1, z.grid, z.grid, d)
        self.conv(k + "patch_embed.proj", d, 3, 16)
        for i in range(z.depth):
            b = f"{k}blocks.{i}."
            self.norm(b + "norm1", d)
            self.linear(b + "attn.qkv", 3 * d, d)
            self.linear(b + "attn.proj", d, d)
            self[b + "attn.rel_pos_h"] = self[b + "attn.rel_pos_w"] = (2 * (z.grid if i in z.globals else z.window) - 1, z.head)
            self.norm(b + "norm2", d)
            self.linear(b + "mlp." + linears[0], z.mlp, d)
            self.linear(b + "mlp." + linears[1], d, z.mlp)
            if adapter:
                a = b + "Adapter."
                self.norm(a + "norm", d)
                self.linear(a + "channel.0", z.small, d, False)
                self.linear(a + "channel.2", d, z.small, False)
                self.conv(a + "spatial.0", z.small, d, 3, False)
                self[a + "spatial.2.weight"] = (z.small, d, 4, 4)
        self.neck(k + "neck", d, z.out)

    def prompts(self, k, c):
        self[k + "pe_layer.positional_encoding_gaussian_matrix"] = (2, c // 2)
        for name in [f"point_embeddings.{i}" for i in range(4)] + ["not_a_point_embed", "no_mask_embed"]:
            self[f"{k}{name}.weight"] = (1, c)
        k += "mask_downscaling."
        self.conv(k + "0", 4, 1, 2)
        self.norm(k + "1", 4)
        self.conv(k + "3", 16, 4, 2)
        self.norm(k + "4", 16)
        self.conv(k + "6", c, 16, 1)

    def transformer(self, k, c, hidden, depth):
        def cross(k, inner):
            for n in "qkv":
                self.linear(f"{k}.{n}_proj", inner, c)
            self.linear(k + ".out_proj", c, inner)

        for i in range(depth):
            at = f"{k}transformer.layers.{i}."
            cross(at + "self_attn", c)
            cross(at + "cross_attn_token_to_image", c // 2)
            cross(at + "cross_attn_image_to_token", c // 2)
            for n in range(1, 5):
                self.norm(f"{at}norm{n}", c)
            self.linear(at + "mlp.lin1", hidden, c)
            self.linear(at + "mlp.lin2", c, hidden)
        cross(k + "transformer.final_attn_token_to_image", c // 2)
        self.norm(k + "transformer.norm_final_attn", c)
        self.upscale(k + "output_upscaling", c, c // 4, c // 8)

    def tokens(self, k, c, hidden):
        self[k + "iou_token.weight"], self[k + "mask_tokens.weight"] = (1, c), (4, c)
        for i in range(4):
            self.mlp(f"{k}output_hypernetworks_mlps.{i}", c, c, c, c // 8)
        self.mlp(k + "iou_prediction_head", c, hidden, hidden, 4)

    def maskfeature(self, k, c):
        self.conv(k + ".0", c // 4, c // 8, 3)
        self.norm(k + ".1", c // 4)
        self.conv(k + ".3", c // 8, c // 4, 3)


class Sizes:
    """Random sizes: widths, depths, grid and window sides."""

    def __init__(self, r):
        self.head = r.choice([8, 12, 16])
        self.dim = self.head * r.choice([2, 3, 4])
        self.mlp = self.dim * r.choice([2, 4])
        self.small = r.choice([6, 10, 16])
        self.depth = r.choice([2, 3, 4])
        self.grid = r.choice([8, 10, 12])
        self.window = r.choice([3, 5, 7])
        self.globals = set(r.sample(range(self.depth), r.choice([1, 2])))
        self.out = 16 * r.choice([2, 3, 4])
        self.hidden = r.choice([40, 64])
        self.layers = r.choice([1, 2])


def sam(r, adapter=False, hq=False):
    z, s = Sizes(r), Shapes()
    s.vit("image_encoder.", z, adapter=adapter)
    s.prompts("prompt_encoder.", z.out)
    s.transformer("mask_decoder.", z.out, z.hidden, z.layers)
    s.tokens("mask_decoder.", z.out, z.hidden)
    if hq:
        k, c = "mask_decoder.", z.out
        s[k + "hf_token.weight"] = (1, c)
        s.mlp(k + "hf_mlp", c, c, c, c // 8)
        s.upscale(k + "compress_vit_feat", z.dim, c, c // 8)
        s.upscale(k + "embedding_encoder", c, c // 4, c // 8)
        s.maskfeature(k + "embedding_maskfeature", c)
    return s, 16 * z.grid


def imis(r):
    z, s = Sizes(r), Shapes()
    vit = "image_encoder.sam_encoder."
    s.vit(vit, z, ("fc1", "fc2"))
    c = 16 * r.choice([2, 3])
    s.neck("image_encoder.neck", z.dim, c)
    s.prompts("prompt_encoder.", c)
    s.transformer("mask_decoder.", c, z.hidden, z.layers)
    s.tokens("mask_decoder.", c, z.hidden)
    s["mask_decoder.semantic_tokens.weight"] = (4, c)
    s.mlp("mask_decoder.semantic_prediction_head", c, z.hidden, z.hidden, 24)
    s.linear("mask_decoder.text_output", c // 8, c)
    d, k = 8 * r.choice([2, 4]), "text_model." * r.choice([1, 2])
    s[k + "embeddings.token_embedding.weight"] = (49408, d)
    s[k + "embeddings.position_embedding.weight"] = (r.choice([9, 21]), d)
    for i in range(r.choice([1, 3])):
        at = f"{k}encoder.layers.{i}."
        for n in ("q_proj", "k_proj", "v_proj", "out_proj"):
            s.linear(at + "self_attn." + n, d, d)
        s.norm(at + "layer_norm1", d)
        s.norm(at + "layer_norm2", d)
        s.linear(at + "mlp.fc1", 3 * d, d)
        s.linear(at + "mlp.fc2", d, 3 * d)
    s.norm(k + "final_layer_norm", d)
    s.linear("text_out_dim", c, d)
    return s, 16 * z.grid


def tiny(r, light=False):
    """SAM behind a TinyViT; light: LiteMedSAM's first convolutions, else MobileSAM's and TinyViT's unused classifier."""
    s, c, k = Shapes(), 16 * r.choice([2, 3, 4]), "image_encoder."

    def conv(at, o, i, size):
        s.conv(at + ".c", o, i, size, False)
        s.bn(at + ".bn", o)

    def narrows(at, o, i, mid):
        conv(at + "conv1", mid, i, 1)
        conv(at + "conv2", mid, 1, 3)
        conv(at + "conv3", o, mid, 1)

    heads, head = r.choice([1, 2]), r.choice([4, 8])
    dims = [r.choice([8, 12])] + [head * heads * n for n in (1, 2)] + [r.choice([320, 320, 6 * head * heads])]
    all_heads = [0, heads, 2 * heads, max(d for d in (10, 6, 5, 2, 1) if dims[3] % d == 0)]
    conv(k + "patch_embed.seq.0", dims[0] // 2, 3, 1 if light else 3)
    conv(k + "patch_embed.seq.2", dims[0], dims[0] // 2, 1 if light else 3)
    for i, d in enumerate(dims):
        window = r.choice([4, 5, 7])
        for j in range(r.choice([1, 2])):
            b, wide = f"{k}layers.{i}.blocks.{j}.", r.choice([2, 4]) * d
            if not i:
                narrows(b, d, d, wide)
                continue
            s.norm(b + "attn.norm", d)
            s.linear(b + "attn.qkv", 3 * d, d)
            s.linear(b + "attn.proj", d, d)
            s[b + "attn.attention_biases"] = (all_heads[i], window * window)
            conv(b + "local_conv", d, 1, 3)
            s.norm(b + "mlp.norm", d)
            s.linear(b + "mlp.fc1", wide, d)
            s.linear(b + "mlp.fc2", d, wide)
        if i < 3:
            narrows(f"{k}layers.{i}.downsample.", dims[i + 1], d, dims[i + 1])
    s.neck(k + "neck", dims[3], c)
    if not light:
        s.norm(k + "norm_head", dims[3])
        s.linear(k + "head", 10, dims[3])
    s.prompts("prompt_encoder.", c)
    hidden = r.choice([40, 64])
    s.transformer("mask_decoder.", c, hidden, r.choice([1, 2]))
    s.tokens("mask_decoder.", c, hidden)
    return s, 256 if light else 1024


def adapted(r, era):
    """Medical-SAM-Adapter of an era: "2023" (SAM's relative positions and decoder), "v0.1.0" (no relative positions), "2024" (its own tables)."""
    z, s, k = Sizes(r), Shapes(), "image_encoder."
    if era == "v0.1.0":  # what its files do not tell: heads of 64, windows of 14, the last of each quarter global, 256 pixels
        z.dim, z.head, z.depth, z.grid = r.choice([64, 128]), 64, r.choice([4, 8]), 16
    z.mlp = z.dim * r.choice([2, 4])
    s.vit(k, z)
    grid = z.grid if era == "2023" else r.choice([8, 11, 12, 64])
    s[k + "pos_embed"] = (1, grid, grid, z.dim)
    for i in range(z.depth):
        b = f"{k}blocks.{i}."
        h, w = s.pop(b + "attn.rel_pos_h"), s.pop(b + "attn.rel_pos_w")
        if era != "v0.1.0":
            name = "rel_pos_" if era == "2023" else "rel_"
            s[b + "attn." + name + "h"], s[b + "attn." + name + "w"] = h, w
        for a in ("MLP_Adapter", "Space_Adapter", "Depth_Adapter"):
            s.linear(f"{b}{a}.D_fc1", z.small, z.dim)
            s.linear(f"{b}{a}.D_fc2", z.dim, z.small)
    s.prompts("prompt_encoder.", z.out)
    s.transformer("mask_decoder.", z.out, z.hidden, z.layers)
    if era != "2023":
        for i in range(z.layers):
            at = f"mask_decoder.transformer.layers.{i}.mlp."
            for old, new in (("lin1", "layers.0.0"), ("lin2", "fc")):
                for part in ("weight", "bias"):
                    s[f"{at}{new}.{part}"] = s.pop(f"{at}{old}.{part}")
    s.tokens("mask_decoder.", z.out, z.hidden)
    return s, 16 * z.grid


def samed(r, base):
    """SAMed's file for a base's shapes: LoRA of queries and values of every block, a prompt encoder and a decoder of some classes."""
    s, rank, d = Shapes(), r.choice([1, 3, 4]), base["image_encoder.pos_embed"][3]
    depth = len([k for k in base if k.endswith("attn.qkv.weight")])
    for i in range(2 * depth):
        s[f"w_a_{i:03d}"], s[f"w_b_{i:03d}"] = (rank, d), (d, rank)
    masks = r.choice([2, 5, 9])
    c = base["image_encoder.neck.0.weight"][0]
    for k, shape in base.items():
        if k.startswith(("prompt_encoder.", "mask_decoder.")) and "hypernetworks" not in k:
            s[k] = shape
    s["mask_decoder.mask_tokens.weight"] = (masks, c)
    for i in range(masks):
        s.mlp(f"mask_decoder.output_hypernetworks_mlps.{i}", c, c, c, c // 8)
    last = max(k for k in s if k.startswith("mask_decoder.iou_prediction_head.layers.") and k.endswith("weight"))
    s[last], s[last.replace("weight", "bias")] = (masks, s[last][1]), (masks,)
    return s


def unet(r):
    s, levels, f = Shapes(), r.choice([2, 3, 4]), r.choice([8, 12, 20])

    def step(k, o, i):
        s.conv(k + ".conv.0", o, i, 3)
        s[k + ".conv.1.weight"] = (1,)

    for i in range(levels):
        step(f"downs.{i}", f, f if i else 5)
        step(f"ups.{2 * i + 1}", f, 2 * f)
    step("bottleneck", f, f)
    s.conv("final_conv.conv.0", 1, f, 1)
    return s, 128


def syncsam(r, without=()):
    """SyncSAM; without: the parts of it that an ablation of table 5 lacks, of vit, cnn, multi, med, stages."""
    z, s = Sizes(r), Shapes()
    z.depth, z.grid = r.choice([4, 8]), 16  # without a ViT nothing tells the grid: 256 pixels
    z.globals = set(range(z.depth // 4 - 1, z.depth, z.depth // 4))
    vit, d, c = "image_encoder.sam_img_encoder.", z.dim, z.out
    s.neck(vit + "neck", d, c) if "vit" in without else s.vit(vit, z)
    if "cnn" not in without:
        bottleneck, base = r.choice([False, True]), r.choice([8, 12])
        s.conv("resnet.stage0.0", base, 3, 7, False)
        s.bn("resnet.stage0.1", base)
        i = base
        for stage in range(4):
            mid = base << stage
            o = 4 * mid if bottleneck else mid
            for j in range(r.choice([1, 2])):
                k = f"resnet.stage{stage + 1}.{j}."
                for n, (a, b, size) in enumerate([(i, mid, 1), (mid, mid, 3), (mid, o, 1)] if bottleneck else [(i, mid, 3), (mid, o, 3)]):
                    s.conv(f"{k}conv{n + 1}", b, a, size, False)
                    s.bn(f"{k}bn{n + 1}", b)
                if i != o or stage and not j:
                    s.conv(k + "downsample.0", o, i, 1, False)
                    s.bn(k + "downsample.1", o)
                i = o
            if "stages" in without and stage < 3:
                continue
            k, h = f"adapters_in.{stage}.reshaper.", max(i, 8)
            for n, size in enumerate([(3, 3, 1), (3, 1), (1,), (2, 1)][stage]):
                at, a = f"{k}{3 * n}", h if n else i
                if size == 1:
                    s.conv(at, d, a, 1)
                    break
                s.conv(at, h, a, 3) if size == 3 else s.up(at, a, h)
                s.norm(f"{k}{3 * n + 1}", h)
    if "multi" not in without:
        for j in range(3):
            s.upscale(f"adapters_bridge.{j}", d, z.small, c // 8)
        s.upscale("embedding_encoder", c, c // 4, c // 8)
    s.prompts("prompt_encoder.sam_prompt_encoder.", c)
    s.transformer("mask_decoder.sam_mask_decoder.", c, z.hidden, z.layers)
    if "med" in without:
        s.tokens("mask_decoder.sam_mask_decoder.", c, z.hidden)
    else:
        s["mask_decoder.med_token.weight"] = (1, c)
        s.mlp("mask_decoder.hf_mlp", c, c, c, c // 8)
        s.maskfeature("mask_decoder.embedding_maskfeature", c)
    return s, 16 * z.grid


def fill(shapes, seed):
    """Random tensors [-1,1) times what keeps activations near one; LayerNorm and BatchNorm near theirs at the start of training."""
    g, state = torch.Generator().manual_seed(seed), {}
    for k, shape in shapes.items():
        u = 2 * torch.rand(shape, generator=g) - 1
        fan = math.prod(shape[1:]) if not ("upscal" in k or "bridge" in k) else shape[0] if shape else 1
        if k.endswith("num_batches_tracked"):
            state[k] = torch.tensor(7)
        elif k.endswith(("running_var",)) or k.endswith("weight") and len(shape) == 1 and shape[0] > 1:
            state[k] = 1 + 0.2 * u
        elif k.endswith("weight") and len(shape) == 1:  # PReLU
            state[k] = 0.25 + 0.1 * u
        elif len(shape) == 1:
            state[k] = 0.1 * u
        elif "gaussian" in k:
            state[k] = 1.7 * u
        elif "pos" in k or "rel_" in k or "biases" in k or "embed" in k and "embedding_" not in k and "patch" not in k or "token" in k and "attn" not in k:
            state[k] = 0.5 * u
        else:
            state[k] = u * math.sqrt(3 / fan)
    return state
