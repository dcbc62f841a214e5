"""The real client of the Open Inference Protocol (PyPI tritonclient[http]) on `serve`: check_serve.py PROGRAM IMAGES ARTIFACT [ARTIFACT2] [-- FLAGS]

FLAGS are those of serve; REQUESTS=N and TIMES=N make it shorter. Metadata beside the ONNX files, results beside `exec` and `run` to the bit,
binary data and JSON, packed and not; malformed requests; 200 requests from 8 clients; goroutines and memory before and after; the end on SIGTERM.
Last the 99th percentiles of the encoder and the decoder beside ONNX Runtime alone.
"""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import onnxruntime
import tritonclient.http as triton
from PIL import Image
from safetensors.numpy import load_file, save_file
from tritonclient.utils import InferenceServerException

arguments, flags = sys.argv[1:], []
if "--" in arguments:
    at = arguments.index("--")
    arguments, flags = arguments[:at], arguments[at + 1:]
program, images, *artifacts = arguments
requests, timings = int(os.environ.get("REQUESTS", 200)), int(os.environ.get("TIMES", 100))
work = tempfile.mkdtemp()
rng = np.random.default_rng(7)


def start(*more):
    p = subprocess.Popen([program, "serve", *artifacts, "--listen", "127.0.0.1:0", *flags, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = p.stdout.readline()
    assert " at http://" in line, line + p.stderr.read()
    return p, line.rsplit("http://", 1)[1].strip()


def tool(*args):
    out = subprocess.run([program, *args], capture_output=True, text=True)
    assert out.returncode == 0, (args, out.stderr)
    return out.stdout


def gauge(address, name):
    c = http.client.HTTPConnection(address)
    c.request("GET", "/metrics")
    text = c.getresponse().read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)


def tensor(name, array, binary=True):
    kind = {"float32": "FP32", "int64": "INT64", "float64": "FP64", "object": "BYTES"}[str(array.dtype)]
    t = triton.InferInput(name, list(array.shape), kind)
    t.set_data_from_numpy(array, binary_data=binary)
    return t


def infer(client, model, values, binary=True, outputs=None, **kw):
    ask = [triton.InferRequestedOutput(o, binary_data=binary) for o in outputs] if outputs else None
    return client.infer(model, [tensor(n, v, binary) for n, v in values.items()], outputs=ask, **kw)


def same(a, b):
    return a is not None and b is not None and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def random_inputs(path, sizes):
    """Inputs of a graph, as exec takes them; sizes has the dynamic dimensions."""
    out = {}
    for i in onnxruntime.InferenceSession(path).get_inputs():
        dims = [d if isinstance(d, int) else sizes.get(d, 1) for d in i.shape]
        if i.name == "point_coords":
            v = rng.uniform(0, 255, dims)
        elif i.name == "point_labels":
            v = rng.integers(0, 2, dims)
        elif i.name == "has_mask_input":
            v = np.ones(dims)
        else:
            v = rng.standard_normal(dims)
        out[i.name] = v.astype(np.int64 if "int64" in i.type else np.float32)
    return out


def by_exec(path, values):
    save_file({k: np.ascontiguousarray(v) for k, v in values.items()}, work + "/in.safetensors")
    tool("exec", path, "--inputs", work + "/in.safetensors", "--outputs", work + "/out.safetensors", *engine_flags)
    return load_file(work + "/out.safetensors")


engine_flags = []
for i, f in enumerate(flags):
    if f in ("--engine", "--onnxruntime-lib", "--threads"):
        engine_flags += flags[i:i + 2]

server, address = start()
client = triton.InferenceServerClient(address, concurrency=2)
assert client.is_server_live() and client.is_server_ready()
meta = client.get_server_metadata()
assert meta["name"] == "syncsam-convert" and "binary_tensor_data" in meta["extensions"], meta
assert {m["name"] for m in client.get_model_repository_index()} >= {"segment"}

suffixes = ["", "_2"][:len(artifacts)]
cases = {}  # model: [(inputs, outputs)]
for artifact, suffix in zip(artifacts, suffixes):
    for file in sorted(f for f in os.listdir(artifact) if f.endswith(".onnx")):
        model, path = file[:-5] + suffix, f"{artifact}/{file}"
        assert client.is_model_ready(model) and client.is_model_ready(model, "1") and not client.is_model_ready(model, "2")
        have, session = client.get_model_metadata(model), onnxruntime.InferenceSession(path)
        kinds = {"tensor(float)": "FP32", "tensor(int64)": "INT64"}
        for ours, theirs in ((have["inputs"], session.get_inputs()), (have["outputs"], session.get_outputs())):
            want = [{"name": t.name, "datatype": kinds[t.type], "shape": [d if isinstance(d, int) else -1 for d in t.shape]} for t in theirs]
            assert ours == want, (ours, want)
        config = client.get_model_config(model)
        assert [(t["name"], t["data_type"][5:], t["dims"]) for t in config["input"] + config["output"]] == [(t["name"], t["datatype"], t["shape"]) for t in have["inputs"] + have["outputs"]]
        cases[model] = []
        for sizes in ({"P": 2}, {"N": 2, "B": 3, "B_mask": 3, "P": 5, "T": 7}):
            values = random_inputs(path, sizes)
            want = by_exec(path, values)
            cases[model].append((values, want))
            ways = [dict(), dict(outputs=list(want)), dict(request_compression_algorithm="gzip", response_compression_algorithm="gzip"),
                    dict(request_compression_algorithm="deflate", response_compression_algorithm="deflate"), dict(binary=False, outputs=list(want)),
                    dict(binary=False, outputs=list(want), request_compression_algorithm="gzip", response_compression_algorithm="gzip")]
            for way in ways:
                r = infer(client, model, values, request_id="a1", **way)
                assert r.get_response()["id"] == "a1" and r.get_response()["model_name"] == model
                for name in want:
                    assert same(r.as_numpy(name), want[name]), (model, name, way)
        print(f"{model}: {len(cases[model])} sizes, {len(ways)} ways each, equal to exec to the bit")

prompts = {
    "box": (["--box", "40.5,30,120,110.25"], {"box": np.array([[40.5, 30, 120, 110.25]], np.float32)}),
    "point": (["--point", "100,90"], {"points": np.array([[100, 90]], np.float32)}),
    "points": (["--point", "100,90,1", "--point", "20,30,0"], {"points": np.array([[100, 90], [20, 30]], np.float32), "labels": np.array([1, 0], np.int64)}),
    "fractions": (["--point", "100.3,90.7"], {"points": np.array([[100.3, 90.7]], np.float64)}),
    "both": (["--box", "40,30,120,110", "--point", "60,60,0"], {"box": np.array([[40, 30, 120, 110]], np.float32), "points": np.array([[60, 60]], np.float32), "labels": np.array([0], np.int64)}),
}
pictures = sorted(f for f in os.listdir(images) if f.endswith(".png"))[:3 if requests >= 200 else 1]
segments = []
for artifact, suffix in zip(artifacts, suffixes):
    for picture in pictures:
        data = np.array([open(f"{images}/{picture}", "rb").read()], dtype=object)
        for kind, (args, values) in prompts.items():
            tool("run", artifact, "--image", f"{images}/{picture}", *args, "-o", work + "/mask.png", *engine_flags)
            want = np.array(Image.open(work + "/mask.png"))
            values = {"image": data, **values}
            r = infer(client, "segment" + suffix, values)
            assert same(r.as_numpy("mask"), want), (picture, kind)
            segments.append(("segment" + suffix, values, {"mask": want, "low_res_masks": r.as_numpy("low_res_masks")}))
            again = infer(client, "segment" + suffix, {**values, "mask_input": r.as_numpy("low_res_masks")}, outputs=["mask"])
            assert again.get_response()["parameters"]["embedding_cached"] and again.as_numpy("mask").shape == want.shape
    print(f"segment{suffix}: {len(pictures)} pictures, {len(prompts)} kinds of prompts each, masks equal to those of run to the bit")


def raw(method, path, body=b"", headers={}):
    c = http.client.HTTPConnection(address, timeout=60)
    try:
        c.request(method, path, body, headers)
        r = c.getresponse()
        text = r.read()
        return r.status, text
    finally:
        c.close()


good = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}, {"name": "box", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 30, 40]}]}


def changed(**more):
    g = json.loads(json.dumps(good))
    for k, v in more.items():
        g["inputs"][1][k] = v
    return json.dumps(g).encode()


size_header = "Inference-Header-Content-Length"
first = list(cases)[0]
malformed = [
    ("not JSON", "/v2/models/segment/infer", b"{", {}, 400),
    ("empty", "/v2/models/segment/infer", b"", {}, 400),
    ("an array", "/v2/models/segment/infer", b"[]", {}, 400),
    ("deep", "/v2/models/segment/infer", b"[" * 200000, {}, 400),
    ("no inputs", "/v2/models/segment/infer", b"{}", {}, 400),
    ("no picture", "/v2/models/segment/infer", changed(), {}, 400),
    ("a box inside out", "/v2/models/segment/infer", changed(data=[30, 2, 1, 40]), {}, 400),
    ("a ragged shape", "/v2/models/segment/infer", changed(data=[1, 2, 3]), {}, 400),
    ("a text for a number", "/v2/models/segment/infer", changed(data=["a", 2, 3, 4]), {}, 400),
    ("an object for a number", "/v2/models/segment/infer", changed(data=[{"a": 1}, 2, 3, 4]), {}, 400),
    ("null data", "/v2/models/segment/infer", changed(data=None), {}, 400),
    ("a datatype that is none", "/v2/models/segment/infer", changed(datatype="FP31"), {}, 400),
    ("another datatype", "/v2/models/segment/infer", changed(datatype="UINT8"), {}, 400),
    ("a negative size", "/v2/models/segment/infer", changed(shape=[-1, 4]), {}, 400),
    ("a size past all bounds", "/v2/models/segment/infer", changed(shape=[1 << 62, 4]), {}, 400),
    ("sizes that overflow", "/v2/models/segment/infer", changed(shape=[1 << 32, 1 << 32]), {}, 400),
    ("an unknown input", "/v2/models/segment/infer", changed(name="bax"), {}, 400),
    ("twice the same", "/v2/models/segment/infer", changed(name="image"), {}, 400),
    ("an unknown output", "/v2/models/segment/infer", json.dumps({**good, "outputs": [{"name": "x"}]}).encode(), {}, 400),
    ("shared memory", "/v2/models/segment/infer", changed(parameters={"shared_memory_region": "a"}), {}, 400),
    ("binary size without bytes", "/v2/models/segment/infer", changed(data=None, parameters={"binary_data_size": 16}), {}, 400),
    ("a header length too large", "/v2/models/segment/infer", b"{}", {size_header: "99"}, 400),
    ("a header length that is none", "/v2/models/segment/infer", b"{}", {size_header: "-1"}, 400),
    ("bytes left over", "/v2/models/segment/infer", json.dumps(good).encode() + b"xxxx", {size_header: str(len(json.dumps(good)))}, 400),
    ("not gzip", "/v2/models/segment/infer", b"abc", {"Content-Encoding": "gzip"}, 400),
    ("an unknown packing", "/v2/models/segment/infer", b"abc", {"Content-Encoding": "br"}, 415),
    ("no such model", "/v2/models/nope/infer", b"{}", {}, 404),
    ("no such version", "/v2/models/segment/versions/7/infer", b"{}", {}, 404),
    ("no such path", "/v3", b"{}", {}, 404),
    ("a wrong shape for a graph", f"/v2/models/{first}/infer", json.dumps({"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 3, 2, 2], "data": [0] * 12}]}).encode(), {}, 400),
]


def refuse(case):
    what, path, body, headers, want = case
    status, text = raw("POST", path, body, headers)
    assert status == want and json.loads(text)["error"], (what, status, text)


for case in malformed:
    refuse(case)
status, text = raw("POST", "/v2/models/segment/infer", b"", {"Content-Length": str(1 << 40)})
assert status == 413 and json.loads(text)["error"], (status, text)
try:
    infer(client, "segment", {"image": np.array([bytes(129 << 20)], dtype=object), "box": np.array([[1, 2, 3, 4]], np.float32)})
    raise SystemExit("129 MB were taken")
except InferenceServerException as e:
    assert e.status() == "413" and "--max-request" in e.message(), e
print(f"{len(malformed) + 2} malformed requests refused with 400, 404, 413 or 415, each with its reason")


def load(n, clients):
    """n requests from clients at a time, every fifth of them malformed; the seconds of those that are not."""
    todo, lock, took, wrong = list(range(n)), threading.Lock(), [], []
    graphs = [(m, v, w) for m, all in cases.items() for v, w in all[:1]]

    def work_off():
        mine = triton.InferenceServerClient(address, network_timeout=600, connection_timeout=600)
        while True:
            with lock:
                if not todo:
                    break
                i = todo.pop()
            try:
                if i % 5 == 4:
                    refuse(malformed[i % len(malformed)])
                    continue
                model, values, want = (graphs + segments)[(i * 7) % (len(graphs) + len(segments))]
                begun = time.perf_counter()
                r = infer(mine, model, values)
                took.append(time.perf_counter() - begun)
                for name, w in want.items():
                    assert same(r.as_numpy(name), w), (model, name)
            except Exception as e:
                wrong.append(repr(e))
        mine.close()

    threads = [threading.Thread(target=work_off) for _ in range(clients)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong, wrong[:3]
    return took


def state():
    time.sleep(1)
    return gauge(address, "go_goroutines"), gauge(address, "process_resident_memory_bytes") / 1e6, gauge(address, "process_open_fds")


def cut_off():
    """A client that goes away in the middle of its request, before its answer, and one that says nothing."""
    host, port = address.rsplit(":", 1)
    for said in (b"", b"POST /v2/models/segment/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{", b"POST /v2/models/segment/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx",
                 b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02" * 50):
        with socket.create_connection((host, int(port))) as s:
            s.sendall(said)


client.close()
load(requests, 8)
before = state()
for _ in range(3):
    [cut_off() for _ in range(10)]
    took = load(requests, 8)
after = state()
print(f"{requests} requests from 8 clients, {requests // 5} of them malformed, four times: all right to the bit; p50 {np.percentile(took, 50) * 1e3:.0f} ms, p99 {np.percentile(took, 99) * 1e3:.0f} ms")
print(f"after the first round and the last: goroutines {before[0]:.0f} and {after[0]:.0f}, memory {before[1]:.0f} and {after[1]:.0f} MB, open files {before[2]:.0f} and {after[2]:.0f}")
assert before[2] > 3 and after[0] <= before[0] + 8 and after[1] < before[1] * 1.25 + 64 and after[2] <= before[2] + 4
assert server.poll() is None

# One client, one request after the other, beside ONNX Runtime in this process.
client = triton.InferenceServerClient(address, network_timeout=600)
for model in [m for m in cases if not m.endswith("_2")]:
    values = cases[model][0][0]
    session = onnxruntime.InferenceSession(f"{artifacts[0]}/{model}.onnx")
    times = []
    for run in (lambda: infer(client, model, values), lambda: session.run(None, values)):
        run()
        t = []
        for _ in range(timings):
            begun = time.perf_counter()
            run()
            t.append(time.perf_counter() - begun)
        times.append(t)
    ours, theirs = ([np.percentile(t, q) * 1e3 for q in (50, 99)] for t in times)
    print(f"{model}: p50 {ours[0]:.1f} ms, p99 {ours[1]:.1f} ms through HTTP; ONNX Runtime alone {theirs[0]:.1f} and {theirs[1]:.1f} ms")

# A request that runs when the server is told to end is answered; one that comes later is not taken.
client.close()
model = next(m for m in cases if m in ("encoder", "model"))
values, want = cases[model][-1]
while True:
    answer = []
    slow = threading.Thread(target=lambda: answer.append(infer(triton.InferenceServerClient(address, network_timeout=600), model, values)))
    slow.start()
    while slow.is_alive() and not (running := gauge(address, "syncsam_inferences_running")):
        pass
    if slow.is_alive() and running:
        break
    slow.join()  # it was too quick: once more
server.send_signal(signal.SIGTERM)
slow.join()
assert server.wait(60) == 0, server.stderr.read()
for name, w in want.items():
    assert same(answer[0].as_numpy(name), w)
try:
    raw("GET", "/v2/health/live")
    raise SystemExit("the server still answers")
except ConnectionRefusedError:
    print("ended on SIGTERM with status 0, the running request answered")
