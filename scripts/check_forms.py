"""Small graphs, a form each, in one runtime beside onnx's reference evaluator: check_forms.py make FOLDER; check_forms.py openvino|opencv|onnxruntime FOLDER

The first writes graphs, inputs and the right results and needs onnx; the second needs numpy and the runtime, of any release, and prints the
forms that it refuses or computes wrongly. backends/portable/misread.go has what was found, and since when.
"""
import glob
import os
import sys

import numpy as np


def forms():
    """(name, opset, nodes, inputs, constants)"""
    from onnx.helper import make_node as node

    rng = np.random.default_rng(0)
    f = lambda *dims: rng.standard_normal(dims).astype("f")
    x, last = {"x": f(2, 3, 4, 5)}, np.array([-1])
    for op in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"):
        data = {"x": np.abs(x["x"]) + 0.1}
        yield f"Reduce{op}, opset 17", 17, [node("Reduce" + op, ["x"], ["y"], axes=[-1])], data, {}
        yield f"Reduce{op}, opset 18", 18, [node("Reduce" + op, ["x", "a"], ["y"])], data, {"a": last}
    yield "ReduceSum", 17, [node("ReduceSum", ["x", "a"], ["y"])], x, {"a": last}
    yield "ReduceLogSumExp of 200", 18, [node("ReduceLogSumExp", ["x", "a"], ["y"])], {"x": 100 * x["x"]}, {"a": last}
    wide, matrices = {"x": f(2, 4, 3, 8)}, f(4, 8, 5)
    yield "MatMul, constant of 4 matrices beside 2 x 4", 17, [node("MatMul", ["x", "c"], ["y"])], wide, {"c": matrices}
    yield "MatMul, input of 4 matrices beside 2 x 4", 17, [node("MatMul", ["x", "c"], ["y"])], {**wide, "c": matrices}, {}
    yield "MatMul, input of 1 matrix beside 3", 17, [node("MatMul", ["x", "c"], ["y"])], {"x": f(3, 6, 8), "c": f(1, 8, 7)}, {}
    conv = [node("Conv", ["x", "w"], ["t"], kernel_shape=[1, 1]), node("Relu", ["z"], ["r"]), node("Add", ["r", "t"], ["y"])]
    yield "Add of batch 1 behind Conv, free batch", 17, conv, {**x, "z": f(1, 6, 4, 5)}, {"w": f(6, 3, 1, 1)}
    yield "Conv without kernel_shape", 17, [node("Conv", ["x", "w"], ["y"])], x, {"w": f(6, 3, 1, 1)}
    for pad in ("SAME_UPPER", "NOTSET"):
        yield f"ConvTranspose, auto_pad {pad}", 17, [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], auto_pad=pad, kernel_shape=[3, 3])], x, {"w": f(3, 4, 3, 3)}
    for where in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        for mode in ("linear", "nearest", "cubic"):
            yield f"Resize, {mode}, {where}", 17, [node("Resize", ["x", "", "", "s"], ["y"], coordinate_transformation_mode=where, mode=mode)], x, {"s": np.array([2, 3, 7, 9])}
    yield "Shape, start and end; Expand", 17, [node("Shape", ["x"], ["n"], start=0, end=1), node("Concat", ["n", "k"], ["s"], axis=0), node("Expand", ["c", "s"], ["y"])], x, {"k": np.array([3, 4]), "c": f(1, 3, 4)}
    yield "Gelu", 20, [node("Gelu", ["x"], ["y"])], x, {}
    yield "LayerNormalization", 17, [node("LayerNormalization", ["x", "s", "b"], ["y"], axis=-1)], x, {"s": f(5), "b": f(5)}
    yield "Softmax, axis 1", 17, [node("Softmax", ["x"], ["y"], axis=1)], x, {}
    yield "PRelu, one slope", 17, [node("PRelu", ["x", "s"], ["y"])], x, {"s": f(1)}
    yield "Clip, upper bound alone", 17, [node("Clip", ["x", "", "m"], ["y"])], x, {"m": np.float32(0.3)}
    yield "Slice, step -1", 17, [node("Slice", ["x", "s", "e", "a", "t"], ["y"])], x, {"s": last, "e": np.array([-9]), "a": np.array([3]), "t": last}
    for zero in (np.uint8(128), np.int8(0)):
        yield f"QuantizeLinear and back, {zero.dtype}", 21, [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])], x, {"s": np.float32(0.02), "z": zero}


def make(folder):
    import onnx
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    os.makedirs(folder, exist_ok=True)
    for i, (name, opset, nodes, inputs, constants) in enumerate(forms()):
        def model(shape):
            free = lambda k, v: ["B", *v.shape[1:]] if "free" in name and k == "x" else v.shape
            values = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), free(k, v)) for k, v in inputs.items()]
            graph = helper.make_graph(nodes, name, values, [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)], [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
            return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 20 else 10)

        want = ReferenceEvaluator(model(None)).run(None, inputs)[0]
        onnx.save(model(["B", *want.shape[1:]] if "free" in name else want.shape), f"{folder}/{i:03}.onnx")
        np.savez(f"{folder}/{i:03}.npz", __name=name, __want=want, **inputs)


def run(kind, path, feeds):
    if kind == "openvino":
        try:
            from openvino import Core
        except ImportError:
            from openvino.runtime import Core
        core = Core()
        return list(core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feeds).values())[0]
    if kind == "opencv":
        import cv2

        net = cv2.dnn.readNetFromONNX(path)
        for k, v in feeds.items():
            net.setInput(v, k)
        return net.forward()
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def check(kind, folder):
    bad = total = 0
    for path in sorted(glob.glob(folder + "/*.onnx")):
        data = dict(np.load(path[:-4] + "npz"))
        name, want = str(data.pop("__name")), data.pop("__want").astype(float)
        total += 1
        problem = ""
        try:
            have = np.asarray(run(kind, path, data)).astype(float)
            if have.shape != want.shape:
                problem = f"wrong: shape {have.shape}, want {want.shape}"
            elif not ((have - want) ** 2).sum() <= 1e-8 * (want**2).sum():
                problem = f"wrong: differs by up to {np.abs(have - want).max():.3g}"
        except Exception as e:
            problem = "refused: " + " ".join(str(e).split())[:160]
        if problem:
            bad += 1
            print(f"{name}: {problem}", flush=True)
    print(f"{kind}: {bad} of {total} forms refused or wrong")


if __name__ == "__main__":
    make(sys.argv[2]) if sys.argv[1] == "make" else check(*sys.argv[1:])
