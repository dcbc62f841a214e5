"""ScribblePrompt-UNet in PyTorch: 3x3 convolutions with one PReLU slope each, pooling, upsampling with aligned corners."""
import torch
import torch.nn.functional as F

from layers import Net


class Model(Net):
    """input [N,5,S,S] (grey, box, positive and negative clicks, earlier logits) -> logits [N,1,S,S]."""

    names_in = ["input"]
    names_out = ["logits"]

    def step(self, k, x):
        return F.prelu(self.conv(k + ".conv.0", x, 1, 1), self.p(k + ".conv.1.weight"))

    def forward(self, x):
        skips = []
        for i in range(self.count("downs.")):
            skips.append(self.step(f"downs.{i}", x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.step("bottleneck", x)
        for i, skip in enumerate(reversed(skips)):
            x = self.step(f"ups.{2 * i + 1}", torch.cat([skip, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)], 1))
        return self.conv("final_conv.conv.0", x)
