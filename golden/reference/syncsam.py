"""SyncSAM in PyTorch: the reference at other weights and widths, and the peers' exporters' input."""
import torch
import torch.nn.functional as F

from layers import Net


class Encoder(Net):
    """image [N,3,S,S] -> image_embeddings [N,C,h,h], multi_scale_features [N,C/8,4h,4h]."""

    names_in = ["image"]
    names_out = ["image_embeddings", "multi_scale_features"]

    def __init__(self, state):
        super().__init__(state, ("image_encoder.", "resnet.", "adapters_in.", "adapters_bridge.", "embedding_encoder."))
        self.vit = "image_encoder.sam_img_encoder."

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

    def reshaper(self, k, x):
        i = 0
        while True:
            size = self.p(f"{k}{i}.weight").shape[2]
            if size == 1:
                return self.conv(f"{k}{i}", x)
            x = self.conv(f"{k}{i}", x, 2, 1) if size == 3 else self.up(f"{k}{i}", x)
            x = F.gelu(self.norm2d(f"{k}{i + 1}", x))
            i += 3

    def forward(self, image):
        """Without one of its parts (table 5) it is what the keys tell; without a bridge the second output is missing."""
        cnn, blocks = self.has("resnet.stage0.0.weight"), self.count(self.vit + "blocks.")
        f = F.max_pool2d(F.relu(self.bn("resnet.stage0.1", self.conv("resnet.stage0.0", image, 2, 3))), 3, 2, 1) if cnn else None
        x = self.patches(self.vit, image) if blocks else 0
        per, bridges = blocks // 4, []
        for i in range(4):
            for j in range(per - 1):
                x = self.block(self.vit, x, i * per + j)
            for j in range(self.count(f"resnet.stage{i + 1}.")):
                f = self.residual(f"resnet.stage{i + 1}.{j}.", f, 2 if i > 0 and j == 0 else 1)
            if self.count(f"adapters_in.{i}.reshaper."):
                x = x + self.reshaper(f"adapters_in.{i}.reshaper.", f).permute(0, 2, 3, 1)
            if blocks:
                x = self.block(self.vit, x, i * per + per - 1)
            if i < 3 and self.has(f"adapters_bridge.{2 - i}.0.weight"):
                bridges.append(self.upscale(f"adapters_bridge.{2 - i}.", x.permute(0, 3, 1, 2)))
        x = self.neck(self.vit + "neck.", x)
        if not bridges:
            return x
        m = self.upscale("embedding_encoder.", x)
        for b in bridges:
            m = m + b
        return x, m


class Decoder(Net):
    """Embeddings of one image and B prompts of P points -> low_res_masks [B,1,4h,4h]; without the med token SAM's masks and iou_predictions."""

    names_in = ["image_embeddings", "multi_scale_features", "point_coords", "point_labels", "mask_input", "has_mask_input"]

    def __init__(self, state):
        super().__init__(state, ("prompt_encoder.", "mask_decoder."))
        self.names_out = ["low_res_masks"] + ([] if self.has("mask_decoder.med_token.weight") else ["iou_predictions"])

    def forward(self, embedding, multi, coords, labels, mask, has):
        """multi is None where the encoder gives none."""
        k, sam = "prompt_encoder.sam_prompt_encoder.", "mask_decoder.sam_mask_decoder."
        med = self.has("mask_decoder.med_token.weight")
        learned = self.p("mask_decoder.med_token.weight") if med else torch.cat([self.p(sam + "iou_token.weight"), self.p(sam + "mask_tokens.weight")])
        q, y = self.decode(sam, k, embedding, coords, labels, mask, has, learned)
        y = self.maskfeature("mask_decoder.embedding_maskfeature.", y) if med else y
        y = y if multi is None else y + multi
        if not med:
            return self.masks(sam, q, y), self.mlp(sam + "iou_prediction_head", q[:, 0])
        return (self.mlp("mask_decoder.hf_mlp", q[:, 0:1]) @ y.flatten(2)).reshape(y.shape[0], 1, y.shape[2], y.shape[3])
