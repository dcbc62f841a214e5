"""Latency of our artifacts beside what PyTorch's exporters and ONNX Runtime's quantizer make of the same checkpoint:
bench_latency.py SHARED PROGRAM [MODEL...]

Models are full-size SyncSAM-34 and -50 from their weight recipes. All files run in ONNX Runtime, in turns within one process;
a ratio is the median of the rounds' ratios, with the quartiles beside it.
"""
import glob
import os
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime

BUILD = os.path.abspath("build/full")
ROUNDS = 12


def export(shared, model, graph, how, path):
    """Writes one graph of the reference network with one of PyTorch's exporters."""
    import torch

    sys.path.insert(0, os.path.abspath("golden/reference"))
    import syncsam

    state = torch.load(f"{BUILD}/{model}.pth", map_location="cpu", weights_only=False)["model"]
    net = (syncsam.Encoder if graph == "encoder" else syncsam.Decoder)(state).eval()
    args = tuple(torch.from_numpy(x) for x in feeds(graph, 2, 3).values())
    axes = {k: {i: d for i, d in enumerate(dims) if isinstance(d, str)} for k, dims in SHAPES[graph].items()}
    with torch.no_grad():
        if how == "dynamo":
            size = {d: torch.export.Dim(d) for d in "NBP"}
            shapes = tuple({i: size[d] for i, d in axes[k].items()} for k in net.names_in)
            torch.onnx.export(net, args, path, dynamo=True, dynamic_shapes=shapes, input_names=net.names_in, output_names=net.names_out)
        else:
            torch.onnx.export(net, args, path, dynamo=False, opset_version=17, dynamic_axes=axes, input_names=net.names_in, output_names=net.names_out)


SHAPES = {
    "encoder": {"image": ["N", 3, 256, 256]},
    "decoder": {"image_embeddings": [1, 256, 16, 16], "multi_scale_features": [1, 32, 64, 64], "point_coords": ["B", "P", 2], "point_labels": ["B", "P"],
                "mask_input": ["B", 1, 64, 64], "has_mask_input": [1]},
}


def feeds(graph, batch, points):
    """Random inputs; labels are clicks, and there is no mask prompt."""
    rng, size = np.random.default_rng(1), {"N": batch, "B": batch, "P": points}
    x = {k: rng.standard_normal([size.get(d, d) for d in dims]).astype("float32") for k, dims in SHAPES[graph].items()}
    if graph == "decoder":
        x["point_coords"] = np.abs(x["point_coords"]) * 60
        x["point_labels"] = np.ones_like(x["point_labels"])
        x["has_mask_input"][:] = 0
    return x


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options)


def compare(files, x, threads):
    """Milliseconds (median) of each file, and each one's ratio to the first."""
    sessions = {name: session(path, threads) for name, path in files.items()}
    times = {name: [] for name in files}
    for _ in range(ROUNDS):
        for name, s in sessions.items():
            feed = {i.name: x[i.name] for i in s.get_inputs()}
            start = time.perf_counter()
            s.run(None, feed)
            times[name].append(time.perf_counter() - start)
    first = np.array(next(iter(times.values())))
    for name, t in times.items():
        q = np.quantile(np.array(t[1:]) / first[1:], [0.25, 0.5, 0.75])
        print(f"    {name:34s} {np.median(t) * 1e3:8.2f} ms   {q[1]:.3f} ({q[0]:.3f} to {q[2]:.3f})", flush=True)


class Calibration(object):
    """Sixteen of the repository's recipe images as quantize_static reads them."""

    def __init__(self, folder):
        from PIL import Image

        self.images = iter([np.asarray(Image.open(p).convert("RGB").resize((256, 256), Image.BILINEAR)) for p in sorted(glob.glob(folder + "/*.png"))[:16]])

    def get_next(self):
        image = next(self.images, None)
        if image is None:
            return None
        mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
        return {"image": ((image - mean) / std).transpose(2, 0, 1)[None].astype("float32")}


def quantize_static(shared, source, target):
    """ONNX Runtime's own way: QDQ, per channel, symmetric, the convolutions of the CNN branch."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static, shape_inference

    shape_inference.quant_pre_process(source, source + ".prepared", skip_symbolic_shape=True)
    model = onnx.load(source + ".prepared", load_external_data=False)
    vit = ("patch_embed", "neck")
    nodes = [n.name for n in model.graph.node if n.op_type == "Conv" and not any(part in i for i in n.input for part in vit)]
    quantize_static(source + ".prepared", target, Calibration(f"{shared}/golden/calibration"), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, nodes_to_quantize=nodes, extra_options={"ActivationSymmetric": True})
    print(f"    quantize_static: {len(nodes)} convolutions")


def main():
    shared, program = sys.argv[1:3]
    for model in sys.argv[3:] or ["syncsam-50", "syncsam-34"]:
        source = f"{BUILD}/{model}.pth"
        os.makedirs(BUILD, exist_ok=True)
        if not os.path.exists(source):
            subprocess.run([sys.executable, f"{shared}/recipe/synth.py", f"{shared}/golden/full/{model}/weights.json", source], check=True)
        run = lambda *a: subprocess.run(a, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ours, int8 = f"{BUILD}/{model}-float", f"{BUILD}/{model}-int8"
        run(program, "build", source, "-o", ours, "--force")
        run(program, "build", source, "-o", int8, "--force", "--precision", "int8", "--calib", f"{shared}/golden/calibration", "--engine", "onnxruntime")
        every = f"{BUILD}/{model}-all"
        run(program, "build", source, "-o", every, "--force", "--precision", "int8", "--quantize", "all", "--calib", f"{shared}/golden/calibration", "--engine", "onnxruntime")
        peers = {}
        for graph in SHAPES:
            for how in ("script", "dynamo"):
                path = peers[graph, how] = f"{BUILD}/{model}-{graph}-{how}.onnx"
                if not os.path.exists(path):
                    run(sys.executable, os.path.abspath(__file__), "--export", shared, model, graph, how, path)
        static = f"{BUILD}/{model}-static.onnx"
        if not os.path.exists(static):
            quantize_static(shared, peers["encoder", "script"], static)
        for graph in SHAPES:
            files = {"exporter, dynamo=False": peers[graph, "script"], "exporter, dynamo=True": peers[graph, "dynamo"], "ours, float": f"{ours}/{graph}.onnx"}
            if graph == "encoder":
                files |= {"quantize_static": static, "ours, int8": f"{int8}/{graph}.onnx", "ours, int8, linear layers too": f"{every}/{graph}.onnx"}
            nodes = {name: len(onnx.load(path, load_external_data=False).graph.node) for name, path in files.items()}
            print(f"{model} {graph}, nodes: " + ", ".join(f"{k} {v}" for k, v in nodes.items()))
            for threads in (1, 2):
                print(f"  {threads} thread(s), N = 1" if graph == "encoder" else f"  {threads} thread(s), B = 1, P = 2")
                compare(files, feeds(graph, 1, 2), threads)
        print("  1 thread, decoder, B = 32, P = 2 (all prompts)")
        compare({k: v for k, v in files.items()}, feeds("decoder", 32, 2), 1)


if __name__ == "__main__":
    if sys.argv[1] == "--export":
        export(*sys.argv[2:])
    else:
        main()
