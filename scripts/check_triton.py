"""A model repository of `export triton` beside Triton's own messages (PyPI tritonclient) and ONNX Runtime: check_triton.py REPOSITORY ARTIFACT [PREFIX]

Every config.pbtxt is parsed into Triton's ModelConfig; names, types and dimensions are those that the ONNX file declares, batched where Triton
batches; the warm-up requests run in ONNX Runtime, alone and at the largest batch, and give what the configuration says.
"""
import hashlib
import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

repository, artifact = sys.argv[1:3]
prefix = sys.argv[3] if len(sys.argv) > 3 else ""
manifest = json.load(open(f"{artifact}/manifest.json"))
graphs = [f["name"][:-5] for f in manifest["files"] if f["name"].endswith(".onnx") and "/" not in f["name"]]
sums = {f["name"]: f["sha256"] for f in manifest["files"]}
have = sorted(d for d in os.listdir(repository) if d.startswith(prefix) and d[len(prefix):] in graphs)
assert have == sorted(prefix + g for g in graphs), (have, graphs)
types = {onnx.TensorProto.FLOAT: ("TYPE_FP32", np.float32), onnx.TensorProto.INT64: ("TYPE_INT64", np.int64), onnx.TensorProto.FLOAT16: ("TYPE_FP16", np.float16),
         onnx.TensorProto.UINT8: ("TYPE_UINT8", np.uint8), onnx.TensorProto.INT32: ("TYPE_INT32", np.int32)}
kind = model_config_pb2.DataType.Name
for graph in graphs:
    folder = f"{repository}/{prefix}{graph}"
    config = text_format.Parse(open(f"{folder}/config.pbtxt").read(), model_config_pb2.ModelConfig())
    assert config.name == prefix + graph and os.listdir(folder + "/1")
    assert config.platform == "onnxruntime_onnx", "a plan cannot be run here"
    path = folder + "/1/model.onnx"
    model = onnx.load(path, load_external_data=False)
    assert hashlib.sha256(open(path, "rb").read()).hexdigest() == sums[graph + ".onnx"] == config.parameters["syncsam.model_sha256"].string_value
    constant = {i.name for i in model.graph.initializer}
    batched = config.max_batch_size > 0
    symbols = set()
    for ours, theirs in ((config.input, [i for i in model.graph.input if i.name not in constant]), (config.output, model.graph.output)):
        assert [t.name for t in ours] == [t.name for t in theirs]
        for a, b in zip(ours, theirs):
            t = b.type.tensor_type
            dims = [d.dim_value if d.HasField("dim_value") else -1 for d in t.shape.dim]
            assert kind(a.data_type) == types[t.elem_type][0], (a, b)
            assert ([-1] if batched else []) + list(a.dims) == dims, (a, dims)
            assert len(a.dims) > 0
            symbols.add(t.shape.dim[0].dim_param)
    if batched:
        assert len(symbols) == 1 and "" not in symbols and config.HasField("dynamic_batching"), symbols
    else:
        assert not config.HasField("dynamic_batching")
    if graph in ("encoder", "model"):
        assert batched
    if graph.startswith("decoder"):
        assert config.max_batch_size == 0
    assert len(config.instance_group) == 1 and config.instance_group[0].count >= 1 and len(config.model_warmup) == 1
    warm = config.model_warmup[0]
    assert set(warm.inputs) == {t.name for t in config.input} and warm.batch_size == 1
    session = onnxruntime.InferenceSession(path)
    by_type = {k: v for k, v in types.values()}
    for batch in sorted({1, config.max_batch_size} - {0}) if batched and np.prod(warm.inputs[config.input[0].name].dims) < 1e6 else [1]:
        feed = {}
        for t in config.input:
            w = warm.inputs[t.name]
            assert w.data_type == t.data_type and w.zero_data and len(w.dims) == len(t.dims)
            assert all(d == -1 or d == e for d, e in zip(t.dims, w.dims)) and all(e > 0 for e in w.dims), (t, w)
            feed[t.name] = np.zeros(([batch] if batched else []) + list(w.dims), by_type[kind(t.data_type)])
        out = session.run(None, feed)
        for t, o in zip(config.output, out):
            dims = ([batch] if batched else []) + list(t.dims)
            assert len(dims) == o.ndim and all(d == -1 or d == e for d, e in zip(dims, o.shape)), (t, o.shape)
    print(f"{prefix}{graph}: parsed as Triton's ModelConfig, max_batch_size {config.max_batch_size}, {len(config.input)} inputs and {len(config.output)} outputs as ONNX declares them, warm-up runs")
