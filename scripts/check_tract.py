"""The golden models in tract, a runtime in Rust, beside ONNX Runtime: check_tract.py PROGRAM RUNNER; RUNNER is scripts/tract, built.

A line per graph: the least signal-to-noise ratio in dB over outputs and over N, B, P and mask prompts, against the float model in ONNX Runtime,
with free sizes and with sizes that tract is told; or why tract refuses it. Every float encoder must be right with free sizes, every float decoder with
told ones; integers as near to float as ONNX Runtime's, less two.
"""
import os
import subprocess
import sys

import check_runtimes as runtimes

os.environ["RUST_BACKTRACE"] = "0"
WORK, DATA = "build/tract", "golden/data"
SIZES = [{"N": 1, "B": 1, "P": 2, "B_mask": 1}, {"N": 2, "B": 3, "P": 5, "B_mask": 3}, {"N": 2, "B": 3, "P": 5, "B_mask": 1}]
ONNXRUNTIME = [sys.executable, runtimes.HERE, "--worker", "onnxruntime"]
INT8 = ["--precision", "int8", "--target", "openvino", "--rounding", "nearest", "--calib", f"{DATA}/calibration"]
BARS = {"float": 100, "float16": 55}


def measure(command, path, sets, want):
    """Least dB over the sets, one run each so that told sizes may differ; or the last line of an error."""
    worst = 400.0
    for feeds, w in zip(sets, want):
        have, error = runtimes.execute(command, path, [feeds], WORK + "/job")
        if have is None:
            return None, error.split("\n")[-1].strip()
        worst = min(worst, runtimes.noise([w], have))
    return worst, ""


def main(program, runner):
    bad = []
    for model in ("tiny-34", "tiny-50"):
        for precision, flags in {"float": [], "float16": ["--precision", "fp16"], "int8": INT8}.items():
            out, plain = f"{WORK}/{model}-{precision}", f"{WORK}/{model}-float"
            subprocess.run([program, "build", f"{DATA}/syncsam-{model}/syncsam-{model}.pth", "-o", out, "--force", *flags], check=True, stdout=subprocess.DEVNULL)
            for graph in ("encoder", "decoder"):
                sets = [runtimes.feeds(f"{plain}/{graph}.onnx", i, sizes, {}) for i, sizes in enumerate(SIZES)]
                want, error = runtimes.execute(ONNXRUNTIME, f"{plain}/{graph}.onnx", sets, WORK + "/job")
                assert want, error
                own, _ = measure(ONNXRUNTIME, f"{out}/{graph}.onnx", sets, want)
                for sizes in ("free", "fixed"):
                    db, error = measure([runner, sizes], f"{out}/{graph}.onnx", sets, want)
                    print(f"{model} {graph} {precision}, {sizes} sizes: " + (error if db is None else f"{db:.1f} dB, ONNX Runtime {own:.1f}"), flush=True)
                    must = precision == "float" and (graph == "encoder" or sizes == "fixed")
                    if must if db is None else db < min(BARS.get(precision, 100), own - 2):
                        bad.append(f"{model} {graph} {precision} {sizes}")
    sys.exit(f"not right: {', '.join(bad)}" if bad else 0)


main(*sys.argv[1:])
