"""From an image file's pixels to the network's input and from its masks to the image's, as each system does it with its own libraries."""
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.transform import resize

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def tensor(x):
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)[None], dtype=np.float32))


def longest(image, s):
    """SAM: the longest side to S with PIL's bilinear filter, normalised, then padded with zeros."""
    h, w = image.shape[:2]
    nh, nw = int(h * s / max(h, w) + 0.5), int(w * s / max(h, w) + 0.5)
    small = np.array(Image.fromarray(image).resize((nw, nh), Image.BILINEAR))
    return F.pad(tensor((small - MEAN) / STD), (0, s - nw, 0, s - nh)), (nh, nw)


def cubic(image, s):
    """MedSAM: stretched by scikit-image's cubic spline, cut to integers, scaled to [0,1] per image."""
    x = resize(image, (s, s), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
    return tensor((x - x.min()) / np.clip(x.max() - x.min(), 1e-8, None)), (s, s)


def nearest(image, s):
    """SAM-Med2D: normalised, then stretched by OpenCV's nearest neighbour."""
    return tensor(cv2.resize(((image - MEAN) / STD).astype(np.float32), (s, s), interpolation=cv2.INTER_NEAREST)), (s, s)


def pil_nearest(image, s):
    """IMIS-Net: stretched by PIL's nearest neighbour, normalised."""
    return tensor((np.array(Image.fromarray(image).resize((s, s), Image.NEAREST)) - MEAN) / STD), (s, s)


def stretched(image, s):
    """Medical-SAM-Adapter: stretched by PIL's bilinear filter, of pixels in [0,1]."""
    return tensor(np.array(Image.fromarray(image).resize((s, s), Image.BILINEAR)) / 255), (s, s)


def stretched_normalised(image, s):
    """The same since 2025: minus SAM's mean, over its deviation."""
    return tensor((np.array(Image.fromarray(image).resize((s, s), Image.BILINEAR)) - MEAN) / STD), (s, s)


def area(image, s):
    """LiteMedSAM: the longest side to S by OpenCV's areas, scaled to [0,1] over all channels, then padded with zeros."""
    h, w = image.shape[:2]
    nh, nw = int(h * s / max(h, w) + 0.5), int(w * s / max(h, w) + 0.5)
    x = cv2.resize(image, (nw, nh), interpolation=cv2.INTER_AREA)
    x = (x - x.min()) / np.clip(x.max() - x.min(), 1e-8, None)
    return F.pad(tensor(x), (0, s - nw, 0, s - nh)), (nh, nw)


def grey(image, s):
    """The grey image in [0,1], stretched by PyTorch's bilinear filter: [1,1,S,S]."""
    return F.interpolate(torch.from_numpy(image[None, None, :, :, 0].astype(np.float32)) / 255, (s, s), mode="bilinear", align_corners=False)


def scribble(image, s):
    """ScribblePrompt-SAM: three equal channels of the stretched grey image."""
    x = grey(image, s).repeat(1, 3, 1, 1) * 255
    return (x - torch.tensor(MEAN, dtype=torch.float32)[:, None, None]) / torch.tensor(STD, dtype=torch.float32)[:, None, None], (s, s)


def planes(image, s, box, points, labels):
    """ScribblePrompt-UNet: the stretched grey image, the box, positive and negative clicks, no earlier logits."""
    h, w = image.shape[:2]
    x = torch.zeros(1, 5, s, s)
    x[:, :1] = grey(image, s)
    if box is not None:
        x0, y0, x1, y1 = (int(v * s / d) for v, d in zip(box, (w, h, w, h)))
        x[0, 1, y0:y1, x0:x1] = 1
    for (px, py), label in zip(points, labels):
        at = int(py * s / h), int(px * s / w)
        x[(0, 2) + at], x[(0, 3) + at] = label, 1 - label
    return x


def up(x, size):
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def twice(mask, s, inside, size):
    """Logits to S x S, the padding cut off, to the original size."""
    return up(up(mask, (s, s))[..., : inside[0], : inside[1]], size) > 0


def once(mask, s, inside, size):
    """Probabilities to the original size in one step."""
    return up(torch.sigmoid(mask), size) > 0.5


def cropped(mask, s, inside, size):
    """LiteMedSAM: logits of the input's size, the padding cut off, to the original size as probabilities."""
    return torch.sigmoid(up(mask[..., : inside[0], : inside[1]], size)) > 0.5


def first(masks, iou):
    return masks[:, :1]


def best(masks, iou):
    """The mask of greatest predicted IoU among the three of the multimask output."""
    return masks[:, 1 + iou[0, 1:].argmax()][:, None]


def first_and_hq(masks, iou):
    return masks[:, :1] + masks[:, -1:]


# A family's preparation, choice of the mask, and way back to the image's size.
PIPELINES = {
    "sam": (longest, first, twice),
    "ft-sam": (longest, first, twice),
    "medsam": (cubic, first, once),
    "sam-med2d": (nearest, best, twice),
    "sam-hq": (longest, first_and_hq, twice),
    "scribbleprompt-sam": (scribble, best, twice),
    "imis-net": (pil_nearest, best, twice),
    "syncsam": (longest, first, twice),
    "mobile-sam": (longest, first, twice),
    "lite-medsam": (area, first, cropped),
    "medical-sam-adapter 2023": (stretched, first, twice),
    "medical-sam-adapter v0.1.0": (stretched, first, twice),
    "medical-sam-adapter 2024": (stretched_normalised, first, twice),
}
