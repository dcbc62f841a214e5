"""A client of an artifact in Python, from its manifest.json alone: client.py ARTIFACT PICTURE MASK.png x0,y0,x1,y1 | x,y,label ...

Needs onnxruntime, numpy and pillow; LiteMedSAM's way of resizing needs OpenCV, MedSAM's scikit-image. Pictures of 8 bits; models that take points. What it does
not know it refuses by name.
"""
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image


class Client:
    def __init__(self, folder):
        manifest = json.load(open(folder + "/manifest.json"))
        self.call = manifest["interface"]
        known = {"values": {"normalized", "min_max", "0-255"}, "interpolation": RESIZE.keys(), "channels": {"RGB", "grey"}}
        for key, words in known.items():
            if self.call["image"][key] not in words:
                sys.exit(f"image.{key}: {self.call['image'][key]!r} is not known here")
        if self.call["mask"]["choose"] not in {"first", "best_iou_multimask", "first_plus_hq"} or "coordinates" not in self.call:
            sys.exit(f"mask.choose {self.call['mask']['choose']!r}, or prompts that are no points: not known here")
        self.encoder, self.decoder = (onnxruntime.InferenceSession(f"{folder}/{g['file']}") for g in self.call["graphs"][:2])

    def resized(self, w, h):
        side = self.call["image"]["side"]
        if self.call["image"]["resize"] == "stretch":
            return side, side
        return tuple(max(int(n * (side / max(w, h)) + 0.5), 1) for n in (w, h))

    def encode(self, picture):
        how, x = self.call["image"], np.asarray(picture.convert("RGB"))
        self.size = picture.size
        if how["channels"] == "grey":
            x = np.repeat((2 * x.sum(2, keepdims=True, dtype=int) + 3) // 6, 3, 2).astype(np.uint8)
        if how["resized_by"] == "caller":
            w, h = self.resized(*self.size)
            x = np.asarray(RESIZE[how["interpolation"]](x, w, h)).astype(np.float64)
            mean, std = how["mean"], how["std"]
            if how["values"] == "min_max":
                mean, std = x.min(), max(x.max() - x.min(), 1e-8)
            square = np.zeros((how["side"], how["side"], 3), np.float32)
            square[:h, :w] = (x - mean) / std
            x = square.transpose(2, 0, 1)[None]
        elif how["layout"] == "CHW":
            x = x.transpose(2, 0, 1)
        kind = {i["name"]: i["dtype"] for i in self.call["graphs"][0]["inputs"]}[how["input"]]
        self.features = dict(zip([o.name for o in self.encoder.get_outputs()], self.encoder.run(None, {how["input"]: x.astype(kind)})))

    def predict(self, points, labels):
        """Logits (or probabilities) at the picture's size; foreground is above call["mask"]["threshold"] after its activation."""
        if self.call["coordinates"]["padding_point"] == "caller" and not set(labels) & {2, 3}:
            points, labels = [*points, (0, 0)], [*labels, -1]
        points = np.array([points], float)
        if self.call["coordinates"].get("whole"):
            points = np.trunc(np.trunc(points) * (self.call["image"]["side"] / max(self.size)))
        else:
            points *= np.divide(self.resized(*self.size), self.size)
        side = self.call["mask_input"]["side"]
        feed = {**self.features, "point_coords": points.astype(np.float32), "point_labels": np.array([labels], np.float32), "mask_input": np.zeros((1, 1, side, side), np.float32),
                "has_mask_input": np.zeros(1, np.float32), "orig_im_size": np.array(self.size[::-1], np.float32)}
        out = dict(zip([o.name for o in self.decoder.get_outputs()], self.decoder.run(None, {i.name: feed[i.name] for i in self.decoder.get_inputs()})))
        mask = self.call["mask"]
        all_masks = out[mask["output"]][0]
        x = all_masks[0]
        if mask["choose"] == "best_iou_multimask" and mask["masks"] > 1:
            x = all_masks[1 + out["iou_predictions"][0, 1:].argmax()]
        elif mask["choose"] == "first_plus_hq" and mask["masks"] > 1:
            x = x + all_masks[-1]
        self.low = x  # a mask_input for the next prompt
        for step in mask["steps"]:
            w, h = {"square": (self.call["image"]["side"],) * 2, "resized": self.resized(*self.size), "original": self.size}[step.get("to", "original")]
            x = {"bilinear": bilinear, "crop": lambda x, w, h: x[:h, :w], "sigmoid": lambda x, w, h: sigmoid(x)}[step["do"]](x, w, h)
        return sigmoid(x) if mask.get("activation") == "sigmoid" else x


def nearest(x, w, h):  # at OpenCV's places
    at = lambda n, out: np.minimum((np.arange(out) * (1 / (out / n))).astype(int), n - 1)
    return x[at(x.shape[0], h)][:, at(x.shape[1], w)]


def area(x, w, h):
    import cv2
    return cv2.resize(x, (w, h), interpolation=cv2.INTER_AREA)


def cubic(x, w, h):
    from skimage.transform import resize
    return resize(x, (h, w), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)


RESIZE = {
    "pil_bilinear": lambda x, w, h: Image.fromarray(x).resize((w, len(x)), Image.BILINEAR).resize((w, h), Image.BILINEAR),  # Pillow 13 chooses the axis that comes first
    "pil_nearest": lambda x, w, h: Image.fromarray(x).resize((w, h), Image.NEAREST),
    "nearest": nearest, "area": area, "skimage_cubic": cubic, "bilinear": lambda x, w, h: np.stack([bilinear(c / np.float32(255), w, h) * 255 for c in x.transpose(2, 0, 1)], 2),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bilinear(x, w, h):
    def places(n, out):
        at = np.clip((np.arange(out, dtype=np.float32) + np.float32(0.5)) * np.float32(n / out) - np.float32(0.5), 0, n - 1)
        low = at.astype(int)
        return low, np.minimum(low + 1, n - 1), at - low
    a, b, t = places(x.shape[0], h)
    x = x[a] * (1 - t)[:, None] + x[b] * t[:, None]
    a, b, t = places(x.shape[1], w)
    return x[:, a] * (1 - t) + x[:, b] * t


if __name__ == "__main__":
    points, labels = [], []
    for text in sys.argv[4:]:
        v = [float(n) for n in text.split(",")]
        points += [v[:2], v[2:]] if len(v) == 4 else [v[:2]]
        labels += [2, 3] if len(v) == 4 else [int(v[2])]
    client = Client(sys.argv[1])
    client.encode(Image.open(sys.argv[2]))
    mask = client.predict(points, labels) > client.call["mask"]["threshold"]
    Image.fromarray((mask * 255).astype(np.uint8)).save(sys.argv[3])
