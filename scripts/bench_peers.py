"""Measures `build` beside PyTorch's exporters, each as a whole process: bench_peers.py SHARED PROGRAM

The checkpoint is SyncSAM-50 at full size from the weight recipe (554 MB). The exporters get the encoder alone, which is most of
the work; ours builds encoder and decoder, hashes and manifest. Before it is timed the peer model is held against the reference.
"""
import os
import resource
import subprocess
import sys
import time

BUILD = os.path.abspath("build/full")


def export(how, path):
    import torch

    sys.path.insert(0, os.path.abspath("golden/reference"))
    from syncsam import Encoder

    state = torch.load(path, map_location="cpu", weights_only=False)["model"]
    model = Encoder(state).eval()
    image = torch.randn(1, 3, 256, 256)
    names = dict(input_names=["image"], output_names=["image_embeddings", "multi_scale_features"])
    with torch.no_grad():
        if how == "check":
            from safetensors.torch import load_file

            ref = load_file(sys.argv[4])
            for name, have in zip(names["output_names"], model(ref["input"])):
                d = ((have - ref[name]).abs().max() / ref[name].std()).item()
                print(f"peer model, {name}: {d:.1e} standard deviations from the reference")
                assert d < 5e-5
        elif how == "dynamo":
            torch.onnx.export(model, (image,), f"{BUILD}/peer.onnx", dynamo=True, dynamic_shapes={"image": {0: torch.export.Dim("N")}}, **names)
        else:
            torch.onnx.export(model, (image,), f"{BUILD}/peer.onnx", dynamo=False, opset_version=17, dynamic_axes={"image": {0: "N"}}, **names)


def measure(command):
    """Wall seconds and peak resident memory, in MB, of a child process."""
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.execvp(command[0], command)
    _, status, usage = os.wait4(pid, 0)
    return time.monotonic() - start, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


def main():
    shared, program = sys.argv[1], sys.argv[2]
    os.makedirs(BUILD, exist_ok=True)
    path = f"{BUILD}/syncsam-50.pth"
    if not os.path.exists(path):
        subprocess.run([sys.executable, f"{shared}/recipe/synth.py", f"{shared}/golden/full/syncsam-50/weights.json", path], check=True)
    me = [sys.executable, os.path.abspath(__file__)]
    subprocess.run(me + ["--export", "check", path, f"{shared}/golden/full/syncsam-50/s0619_32.safetensors"], check=True)
    jobs = [
        ("syncsam-convert build (encoder, decoder)", [program, "build", path, "-o", f"{BUILD}/artifact", "--force"]),
        ("PyTorch exporter, dynamo=False (encoder)", me + ["--export", "script", path]),
        ("PyTorch exporter, dynamo=True (encoder)", me + ["--export", "dynamo", path]),
    ]
    first = None
    for name, command in jobs:
        runs = [measure(command) for _ in range(3 if first is None else 1)]
        assert all(r[2] == 0 for r in runs), f"{name} failed"
        seconds, memory = min(r[0] for r in runs), max(r[1] for r in runs)
        first = first or (seconds, memory)
        print(f"{name:45s} {seconds:6.2f} s {memory:6.0f} MB   {seconds / first[0]:5.1f} x time {memory / first[1]:5.1f} x memory", flush=True)
    env = dict(os.environ, ARTIFACT=f"{BUILD}/artifact")
    out = subprocess.run(["go", "test", "./engine", "-run", "^$", "-bench", "Encoder", "-benchtime", "5x"], env=env, capture_output=True, text=True, check=True).stdout
    ns = {line.split()[0].split("/")[1].split("-")[0]: float(line.split()[2]) for line in out.splitlines() if line.startswith("BenchmarkEncoder/")}
    image = "build/full/image.safetensors"
    from safetensors.numpy import save_file
    import numpy

    save_file({"image": numpy.random.default_rng(1).standard_normal((1, 3, 256, 256)).astype("float32")}, image)
    seconds, memory, code = measure([program, "exec", f"{BUILD}/artifact/encoder.onnx", "--inputs", image, "--outputs", "build/full/out.safetensors"])
    assert code == 0
    print(f"{'encoder, engine go':45s} {ns['go'] / 1e9:6.2f} s {memory:6.0f} MB (whole process)")
    if "onnxruntime" in ns:
        print(f"{'encoder, engine onnxruntime':45s} {ns['onnxruntime'] / 1e9:6.2f} s; go / onnxruntime = {ns['go'] / ns['onnxruntime']:.1f}")


if __name__ == "__main__":
    if sys.argv[1] == "--export":
        export(sys.argv[2], sys.argv[3])
    else:
        main()
