"""Writes JPEG and JPEG-LS streams of many modes and what other decoders make of them: python make_streams.py ../internal/jpeg/testdata/streams.zip
../internal/jpegls/testdata/streams.zip. Needs numpy, pillow, imagecodecs (libjpeg-turbo, CharLS), pyjpegls and pylibjpeg-libjpeg.

Each zip has streams, and sums.json: for each the width, height, bits, components and the SHA-256 of the samples, interleaved, 16 bits,
little-endian."""
import hashlib
import io
import json
import os
import sys
import zipfile

import imagecodecs
import jpeg_ls
import libjpeg
import numpy as np
from PIL import Image

rng = np.random.default_rng(1)


def content(h, w, c, bits, kind):
    y, x = np.mgrid[:h, :w]
    m = 2**bits - 1
    a = {
        "smooth": (np.sin(x / 7) + np.cos(y / 5) + 2) / 4 * m,
        "flat": np.where((x // 9 + y // 7) % 3 == 0, m * 0.8, m * 0.3),
        "noise": rng.integers(0, m + 1, (h, w)).astype(float),
        "mixed": (np.sin(x / 7) + 2) / 4 * m + rng.normal(0, m * 0.01 + 0.6, (h, w)),
    }[kind]
    if c > 1:
        a = np.stack([a, np.roll(a, 3, 0), m - a], -1)
    return np.clip(a, 0, m).round().astype(np.uint8 if bits <= 8 else np.uint16)


class Streams:
    def __init__(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.path, self.entries, self.sums = path, {}, {}

    def add(self, name, stream, samples, bits):
        x = np.asarray(samples)
        h, w = x.shape[:2]
        self.entries[name] = bytes(stream)
        self.sums[name] = [w, h, bits, 1 if x.ndim == 2 else x.shape[2], hashlib.sha256(np.ascontiguousarray(x, "<u2").tobytes()).hexdigest()]

    def close(self):
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED) as z:
            for name, b in [*self.entries.items(), ("sums.json", json.dumps(self.sums).encode())]:
                z.writestr(zipfile.ZipInfo(name), b, zipfile.ZIP_DEFLATED)
        print(self.path, len(self.entries), "streams")


jpeg = Streams(sys.argv[1])
for bits in range(2, 17):
    for predictor in range(1, 8):
        for c in (1, 3):
            if c == 3 and predictor != bits % 7 + 1:
                continue
            a = content(9, 13, c, bits, "mixed" if predictor % 2 else "noise")
            colours = {"colorspace": "RGB", "outcolorspace": "RGB"} if c == 3 else {}
            jpeg.add(f"lossless-{bits}-{predictor}-{c}", imagecodecs.jpeg8_encode(a, lossless=True, predictor=predictor, bitspersample=bits, **colours), a, bits)
for c, sub in ((1, None), (3, "444"), (3, "422"), (3, "420")):
    for quality in (50, 95):
        for h, w in ((16, 16), (19, 31), (3, 3), (1, 1), (8, 2), (33, 7)):
            s = imagecodecs.jpeg8_encode(content(h, w, c, 8, "mixed"), level=quality, **({"subsampling": sub} if sub else {}))
            jpeg.add(f"sequential-8-{sub}-{quality}-{w}x{h}", s, imagecodecs.jpeg8_decode(s, **({"outcolorspace": "YCBCR"} if c == 3 else {})), 8)
for quality in (50, 90, 100):
    s = imagecodecs.jpeg8_encode(content(19, 31, 1, 12, "mixed"), level=quality, bitspersample=12)
    jpeg.add(f"sequential-12-{quality}", s, imagecodecs.jpeg8_decode(s), 12)
for blocks in (1, 3):
    out = io.BytesIO()
    Image.fromarray(content(33, 40, 3, 8, "mixed")).save(out, "jpeg", quality=80, subsampling="4:2:0", restart_marker_blocks=blocks)
    jpeg.add(f"restart-{blocks}", out.getvalue(), imagecodecs.jpeg8_decode(out.getvalue(), outcolorspace="YCBCR"), 8)
jpeg.close()

ls = Streams(sys.argv[2])
for bits in (2, 3, 4, 5, 6, 7, 8, 10, 12, 16):
    for kind in ("smooth", "flat", "noise", "mixed"):
        for near in (0, 1, 3):
            if near > (2**bits - 1) // 2:
                continue
            a = content(19, 23, 1, bits, kind)
            s = bytes(jpeg_ls.encode_buffer(a.tobytes(), 19, 23, 1, bits, near))
            ls.add(f"grey-{bits}-{kind}-{near}", s, libjpeg.decode(s), bits)
for bits in (8, 12, 16):
    for kind in ("flat", "mixed"):
        for near in (0, 2):
            for interleave in (0, 1, 2):
                a = content(11, 17, 3, bits, kind)
                b = np.ascontiguousarray(a.transpose(2, 0, 1)) if interleave == 0 else a
                s = bytes(jpeg_ls.encode_buffer(b.tobytes(), 11, 17, 3, bits, near, interleave))
                want = libjpeg.decode(s)
                assert near or np.array_equal(want, a)
                ls.add(f"colour-{bits}-{kind}-{near}-{interleave}", s, want, bits)
ls.close()
