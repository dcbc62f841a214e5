"""Makes checkpoints with what training scripts leave in them beside plain tensors, and what they hold in odd.safetensors. Run here with
torch, numpy and safetensors."""
import json
import warnings
from collections import OrderedDict

import numpy
import torch
from safetensors.torch import save_file

warnings.simplefilter("ignore")
torch.manual_seed(6)
want = {}


def keep(file, obj, tensors, **options):
    torch.save(obj, file, **options)
    note(file, tensors)


def note(file, tensors):
    for name, t in tensors.items():
        want[file + "/" + name] = torch.empty_like(t.detach(), memory_format=torch.contiguous_format).copy_(t.detach().resolve_neg()).as_subclass(torch.Tensor)


class Sub(torch.Tensor):
    pass


class SubParameter(torch.nn.Parameter):
    pass


class Wrapper(torch.Tensor):  # keeps its values in an attribute
    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Restored(torch.Tensor):  # code of its own restores it
    def __setstate__(self, state):
        self.mul_(2)


class Record(dict):
    pass


class Net(torch.nn.Module):  # the legacy format saves its source, too
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(2))

    def forward(self, x):
        return x * self.w


# The negative bit: of a view, of a transposed one, of integers, and of the imaginary part of a conjugate.
z = torch.randn(4, dtype=torch.complex64)
negative = {"w": torch._neg_view(torch.randn(2, 3)), "t": torch._neg_view(torch.randn(3, 2)).t(), "i": torch._neg_view(torch.tensor([0, 1, -300, 2**31 - 1], dtype=torch.int32)),
            "u": torch._neg_view(torch.tensor([0, 1, 200], dtype=torch.uint8)), "half": torch._neg_view(torch.randn(3).half()),
            "double": torch._neg_view(torch.randn(3).double()), "imag": z.conj().imag, "plain": torch.randn(2)}
keep("negative.pth", negative, negative)
keep("negative_legacy.pth", negative, negative, _use_new_zipfile_serialization=False)
torch.save({"conj": z.conj(), "plain": torch.zeros(1)}, "conjugate.pth")

base = torch.randn(5, 6)
shapes = {"scalar": base[2, 3], "row": base[3], "zero": base[2:2], "zero_behind": base[5:], "none": torch.zeros(0), "expanded": base[1:2].expand(4, 6), "fully": base[0, 0].expand(2, 3),
          "overlapping": base.as_strided((4, 3), (1, 1), 7), "diagonal": base.diagonal(), "every_second": base[::2, 1::2], "one": base[1:2, 1:2], "deep": torch.randn(1, 1, 2, 1, 3)[:, :, 1:]}
keep("shapes.pth", shapes, shapes)

t = torch.randn(2, 3)
t.tag = "text"
p = torch.nn.Parameter(torch.randn(3))
p.lr_scale, p.no_decay = 0.5, True
subclasses = OrderedDict(sub=torch.randn(2, 2).as_subclass(Sub), attribute=t, parameter=p, sub_parameter=SubParameter(torch.randn(2)), buffer=torch.nn.Buffer(torch.randn(2)), plain=torch.randn(2))
keep("subclasses.pth", subclasses, subclasses)
keep("subclasses_legacy4.pth", subclasses, subclasses, _use_new_zipfile_serialization=False, pickle_protocol=4)

good = {"good": torch.randn(2)}
odd = dict(good, complex=z, uint16=torch.zeros(3, dtype=torch.uint16), uint32=torch.zeros(3, dtype=torch.uint32), uint64=torch.zeros(3, dtype=torch.uint64),
           float8=torch.randn(4).to(torch.float8_e4m3fn), sparse=torch.eye(2).to_sparse(), csr=torch.eye(2).to_sparse_csr(), quantized=torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8),
           channels=torch.quantize_per_channel(torch.randn(2, 2), torch.ones(2), torch.zeros(2), 0, torch.qint8), nested=torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)]),
           meta=torch.empty(3, device="meta"), numpy=numpy.zeros(2, numpy.float32), wrapper=Wrapper(torch.randn(2)), restored=torch.randn(2).as_subclass(Restored), last=torch.randn(3))
keep("odd.pth", odd, {"good": odd["good"], "last": odd["last"]})
keep("odd_legacy.pth", odd, {"good": odd["good"], "last": odd["last"]}, _use_new_zipfile_serialization=False)
save_file({k: odd[k] for k in ("good", "uint16", "uint32", "float8", "complex", "last")}, "odd_types.safetensors")
note("odd_types.safetensors", {k: odd[k] for k in ("good", "last")})
for protocol in (3, 4, 5):
    keep(f"protocol{protocol}.pth", good, good, pickle_protocol=protocol)
    keep(f"legacy{protocol}.pth", good, good, pickle_protocol=protocol, _use_new_zipfile_serialization=False)

# Wrappers and prefixes.
net = {"a.weight": torch.randn(2, 2), "a.bias": torch.randn(2), "b": torch.randn(1)}
prefix = lambda p, d=net: {p + k: v for k, v in d.items()}
trainer = {"state_dict": prefix("model."), "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}], "epoch": 3, "hyper_parameters": {"lr": 0.1}}
keep("trainer.pth", trainer, prefix("model."))
keep("compiled.pth", prefix("module._orig_mod."), net)
keep("compiled_inside.pth", {"a._orig_mod.weight": net["a.weight"], "a._orig_mod.bias": net["a.bias"], "b": net["b"]}, net)
keep("dict_class.pth", {"model": Record(net), "epoch": 1}, net)
keep("beside.pth", dict(net, **{"module.b": torch.zeros(1)}), dict(net, **{"module.b": torch.zeros(1)}))
loop = {"w": net["b"]}
loop["self"] = loop
keep("loop.pth", loop, {"w": net["b"]})

# What is not a state dict.
model = Net()
torch.save(model, "module.pth")
torch.save(model, "module_legacy.pth", _use_new_zipfile_serialization=False)
torch.save({"model": model, "epoch": 1}, "module_in_dict.pth")
torch.save(torch.randn(2), "tensor.pth")
torch.jit.script(model).save("script.pt")

# Shards, as Hugging Face's libraries write them.
for ending, save, name in (("safetensors", save_file, "model"), ("bin", torch.save, "pytorch_model")):
    parts = [{k: net[k] for k in part} for part in (("a.bias",), ("a.weight", "b"))]
    files = [f"{name}-{i + 1:05}-of-00002.{ending}" for i in range(2)]
    for part, file in zip(parts, files):
        save(part, "shards/" + file)
    weight_map = {k: file for part, file in zip(parts, files) for k in part}
    json.dump({"metadata": {"total_size": 28}, "weight_map": weight_map}, open(f"shards/{name}.{ending}.index.json", "w"), indent=1)
note("shards", net)
save_file(want, "odd.safetensors")
