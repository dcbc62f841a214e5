"""Other libraries' values of golden/metrics and golden/stats, as tables that their tests read.

check_stats.py FOLDER PAIRS SAMPLES SEED writes FOLDER/metrics.json (random pairs of masks with the values of surface-distance, MONAI and
scikit-image) and FOLDER/stats.json (random samples with those of SciPy, statsmodels and NumPy). The committed tables are those of
48 pairs, 64 samples and seed 1, with --small.
"""

import argparse
import base64
import json
import pathlib
import warnings

import numpy as np

warnings.simplefilter("ignore")
np.Inf, np.NaN = np.inf, np.nan  # names that surface-distance 0.1 still uses

import surface_distance  # noqa: E402
import torch  # noqa: E402
from monai.metrics import compute_hausdorff_distance, compute_iou, compute_surface_dice  # noqa: E402
from monai.metrics.utils import get_edge_surface_distance  # noqa: E402
from scipy import ndimage, stats  # noqa: E402
from skimage.metrics import hausdorff_distance  # noqa: E402
from statsmodels.regression.linear_model import OLS  # noqa: E402
from statsmodels.stats.weightstats import ttost_paired  # noqa: E402


def number(x):
    """A float, or None where a library has no finite value."""
    x = float(x)
    return x if np.isfinite(x) else None


def mask(rng, kind, h, w):
    if kind == "blobs":
        field = ndimage.gaussian_filter(rng.normal(size=(h, w)), rng.uniform(1, 4))
        return field > np.quantile(field, rng.uniform(0.4, 0.98))
    if kind == "noise":
        return rng.random((h, w)) < rng.uniform(0.01, 0.99)
    m = np.zeros((h, w), bool)
    if kind == "box":  # often at the border
        y, x = sorted(rng.integers(0, h + 1, 2)), sorted(rng.integers(0, w + 1, 2))
        m[y[0]:y[1], x[0]:x[1]] = True
    elif kind == "disc":
        yy, xx = np.mgrid[:h, :w]
        m = (yy - rng.uniform(0, h)) ** 2 + (xx - rng.uniform(0, w)) ** 2 < rng.uniform(1, min(h, w)) ** 2
    elif kind == "pixel":
        m[rng.integers(h), rng.integers(w)] = True
    elif kind == "full":
        m[:] = True
    return m


KINDS = ["blobs", "box", "disc", "noise", "pixel", "full", "empty"]


def change(rng, m):
    """A prediction of a mask: moved, grown, shrunk, with spots."""
    p = np.roll(m, (rng.integers(-3, 4), rng.integers(-3, 4)), (0, 1))
    if rng.random() < 0.3:
        p = ndimage.binary_dilation(p, iterations=int(rng.integers(1, 4)))
    elif rng.random() < 0.3:
        p = ndimage.binary_erosion(p, iterations=int(rng.integers(1, 3)))
    if rng.random() < 0.3:
        p = p ^ (rng.random(m.shape) < 0.02)
    return p


def pair(rng, most):
    h, w = (int(rng.integers(1, most + 1)) for _ in range(2))
    kind = rng.choice(KINDS, p=[0.4, 0.2, 0.15, 0.1, 0.05, 0.05, 0.05])
    truth = mask(rng, kind, h, w)
    predicted = change(rng, truth) if rng.random() < 0.7 else mask(rng, rng.choice(KINDS), h, w)
    x, y, tolerance = 1.0, 1.0, float(rng.integers(0, 4))
    if rng.random() < 0.6:  # anisotropic, and a tolerance that no distance equals
        x, y, tolerance = (float(v) for v in np.exp(rng.normal(0, 0.7, 3)))
    return kind, truth, predicted, (x, y), tolerance


def monai_percentile(p, t, spacing, percent):
    """compute_hausdorff_distance's percentile with the last step in float64: in float32 it is off by 2e-6."""
    _, distances, _ = get_edge_surface_distance(p[0, 0], t[0, 0], spacing=spacing, symmetric=True)
    return max(float(torch.quantile(d.double(), percent / 100)) for d in distances)


def metrics_case(rng, most):
    kind, truth, predicted, (x, y), tolerance = pair(rng, most)
    d = surface_distance.compute_surface_distances(truth, predicted, [y, x])
    t, p = (torch.tensor(m[None, None].astype(np.float32)) for m in (truth, predicted))
    both = dict(include_background=True, spacing=[y, x])
    some = truth.any() and predicted.any()
    pack = lambda m: base64.b64encode(np.packbits(m.ravel()).tobytes()).decode()
    return {
        "kind": str(kind), "w": truth.shape[1], "h": truth.shape[0], "truth": pack(truth), "predicted": pack(predicted),
        "spacing": [x, y], "tolerance": tolerance,
        "hd95": number(surface_distance.compute_robust_hausdorff(d, 95)),
        "hd100": number(surface_distance.compute_robust_hausdorff(d, 100)),
        "nsd": number(surface_distance.compute_surface_dice_at_tolerance(d, tolerance)),
        "dice": number(surface_distance.compute_dice_coefficient(truth, predicted)),
        "monai_iou": number(compute_iou(p, t, include_background=True, ignore_empty=False)),
        "monai_nsd": number(compute_surface_dice(p, t, [tolerance], use_subvoxels=True, **both)),
        "monai_hd95": number(monai_percentile(p, t, [y, x], 95)) if some else None,
        "monai_hd": number(compute_hausdorff_distance(p, t, **both)) if some else None,
        "skimage_hd": number(hausdorff_distance(truth, predicted)) if some else None,
    }


def sample(rng, most):
    kind = rng.choice(["normal", "ties", "rare", "equal", "zero", "edge"], p=[0.3, 0.25, 0.2, 0.05, 0.05, 0.15])
    n = int(rng.choice([1, 2, 3, 5, 8, 12, 13, 14, 20, 49, 50, 51, 60])) if kind == "edge" else int(rng.integers(2, most + 1))
    shift, scale = rng.normal(0, 0.5), 10 ** rng.uniform(-3, 0)
    if kind == "ties":
        d = rng.integers(-4, 5, n) * 0.25 * scale
    elif kind == "rare":
        d = np.where(rng.random(n) < 0.3, rng.normal(shift, 1, n), 0) * scale
    elif kind == "equal":
        d = np.full(n, scale)
    elif kind == "zero":
        d = np.zeros(n)
    else:
        d = rng.normal(shift, 1, n) * scale
    clusters = rng.integers(0, rng.integers(1, n + 1), n) if rng.random() < 0.8 else np.arange(n)
    return str(kind), np.round(d, 6) + 0.0, np.unique(clusters, return_inverse=True)[1], float(abs(np.round(scale * rng.uniform(0.1, 1.5), 6)) + 1e-6)


def stats_case(rng, most, draws=20000):
    kind, d, clusters, margin = sample(rng, most)
    n, k = len(d), clusters.max() + 1
    case = {"name": kind, "d": d.tolist(), "clusters": clusters.tolist(), "margin": margin, "mean": number(d.mean()),
            "variance": number(d.var(ddof=1)), "tost_p": None, "t_ci95": [None, None], "cluster_se": None,
            "bootstrap_ci95": [None, None], "bootstrap_error": None}
    test = stats.wilcoxon(d)
    case["wilcoxon_statistic"], case["wilcoxon_p"] = number(test.statistic), number(test.pvalue)
    if n > 1:
        case["tost_p"] = number(ttost_paired(d, np.zeros(n), -margin, margin)[0])
        by = stats.t.ppf(0.975, n - 1) * stats.sem(d)
        case["t_ci95"] = [number(d.mean() - by), number(d.mean() + by)]
    if k > 1:
        case["cluster_se"] = number(OLS(d, np.ones(n)).fit(cov_type="cluster", cov_kwds={"groups": clusters}).bse[0])
        sums, counts = np.bincount(clusters, d), np.bincount(clusters)
        draw = rng.integers(0, k, (draws, k))
        means = sums[draw].sum(1) / counts[draw].sum(1)
        df = max(n * n / (counts * counts).sum() - 1, 1)
        tail = stats.norm.cdf(-np.sqrt(k / (k - 1)) * stats.t.ppf(0.975, df))
        off = 6 * np.sqrt(tail * (1 - tail) * (1 / draws + 1 / 10000))  # six standard errors of the share below a quantile
        q = lambda p: np.quantile(means, np.clip(p, 0, 1))
        ends = [tail, 1 - tail]
        case["bootstrap_ci95"] = [number(q(p)) for p in ends]
        case["bootstrap_error"] = number(max(abs(q(p + s) - q(p)) for p in ends for s in (-off, off)) + 1e-9)
    return case


def main():
    a = argparse.ArgumentParser()
    a.add_argument("folder", type=pathlib.Path)
    a.add_argument("pairs", type=int)
    a.add_argument("samples", type=int)
    a.add_argument("seed", type=int)
    a.add_argument("--small", action="store_true", help="small masks and samples, for tables that are committed")
    o = a.parse_args()
    o.folder.mkdir(parents=True, exist_ok=True)
    for name, count, case, most in (("metrics", o.pairs, metrics_case, 36 if o.small else 96), ("stats", o.samples, stats_case, 30 if o.small else 150)):
        rng = np.random.default_rng([o.seed, len(name)])
        lines = ",\n".join(json.dumps(case(rng, most), separators=(",", ":")) for _ in range(count))
        (o.folder / f"{name}.json").write_text(f"[\n{lines}\n]\n")
        print(f"{o.folder / name}.json: {count} cases")


main()
