#!/usr/bin/env python3
"""Writes a data set of synthetic phantoms of the kinds that the golden data set has: images/, masks/ and the index.

    phantoms.py OUT ITEMS SEED

Bodies with a bright rim, speckled scans and stained tissue; in each 3 to 8 objects, of which later ones cover earlier ones. A mask is what is
left visible of an object, at least 60 pixels. The same seed gives the same pixels.
"""
import json, os, sys
import numpy as np
from PIL import Image


def blur(a, sigma):
    fy, fx = np.fft.fftfreq(a.shape[0])[:, None], np.fft.rfftfreq(a.shape[1])[None]
    return np.fft.irfft2(np.fft.rfft2(a) * np.exp(-2 * np.pi**2 * sigma**2 * (fy**2 + fx**2)), a.shape)


def texture(rng, shape, sigma):
    t = blur(rng.standard_normal(shape), sigma)
    return t / t.std()


def blob(rng, shape, x, y, radius, rough):
    """A closed curve around x, y: a radius that varies with the angle, squeezed and turned."""
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.6, 1)
    u, v = (xx - x) * np.cos(turn) + (yy - y) * np.sin(turn), -(xx - x) * np.sin(turn) + (yy - y) * np.cos(turn)
    v = v / squeeze
    angle, r = np.arctan2(v, u), np.ones(shape)
    for k in range(2, 6):
        r += rough * rng.standard_normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return np.hypot(u, v) < radius * np.maximum(r, 0.2)


def phantom(rng):
    w, h = int(rng.integers(180, 420)), int(rng.integers(160, 400))
    shape, kind, side = (h, w), rng.integers(3), min(w, h)
    if kind == 0:  # a body in the dark
        body = blob(rng, shape, w / 2, h / 2, 0.43 * side, 0.12)
        rim = body & ~(blur(body.astype(float), rng.uniform(1.5, 3)) > 0.93)
        level = rng.uniform(50, 130)
        picture = np.where(body, level + rng.uniform(3, 12) * texture(rng, shape, 25), rng.uniform(2, 12))
        picture[rim] = rng.uniform(1.3, 1.8) * level
        noise = rng.uniform(1, 5) * rng.standard_normal(shape)
    elif kind == 1:  # speckle
        level = rng.uniform(40, 80)
        picture = level + rng.uniform(5, 15) * texture(rng, shape, 30)
        noise = None
    else:  # stain
        level = rng.uniform(130, 200)
        picture = level + rng.uniform(5, 14) * texture(rng, shape, 20)
        noise = rng.uniform(1, 6) * rng.standard_normal(shape)
    objects = []
    for _ in range(rng.integers(3, 9)):
        radius = side * np.exp(rng.uniform(np.log(0.025), np.log(0.17)))
        spread = 0.3 if kind == 0 else 0.42
        m = blob(rng, shape, w * (0.5 + rng.uniform(-spread, spread)), h * (0.5 + rng.uniform(-spread, spread)), radius, rng.uniform(0.05, 0.3))
        tone = level * rng.choice([rng.uniform(0.05, 0.75), rng.uniform(1.25, 1.9)])
        soft = blur(m.astype(float), rng.uniform(0.5, 1.5))
        picture = picture * (1 - soft) + soft * (tone + rng.uniform(0.5, 8) * texture(rng, shape, rng.uniform(3, 12)))
        objects = [o & ~m for o in objects] + [m]
    if noise is None:
        picture = picture * np.clip(1 + rng.uniform(0.2, 0.45) * rng.standard_normal(shape), 0, None)
    else:
        picture = picture + noise
    colour = np.stack([picture] * 3, -1)
    if kind == 2:
        colour = colour * np.array([rng.uniform(1, 1.25), rng.uniform(0.55, 0.85), rng.uniform(0.65, 1.05)])
    return np.clip(colour + 0.5, 0, 255).astype(np.uint8), [m for m in objects if m.sum() >= 60]


def main(out, items, seed):
    rng, index, k = np.random.default_rng(seed), {}, 0
    for d in ("images", "masks"):
        os.makedirs(f"{out}/{d}", exist_ok=True)
    while len(index) < items:
        picture, masks = phantom(rng)
        image = f"images/phantom_{k:03d}.png"
        Image.fromarray(picture).save(f"{out}/{image}")
        for j, m in enumerate(masks[: items - len(index)]):
            mask = f"masks/phantom_{k:03d}_object_{j:03d}.png"
            Image.fromarray(m.astype(np.uint8) * 255).save(f"{out}/{mask}")
            index[mask] = image
        k += 1
    with open(f"{out}/label2image_test.json", "w") as f:
        json.dump(index, f, indent=1)
    print(f"{out}: {len(index)} masks of {k} images, seed {seed}")


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
