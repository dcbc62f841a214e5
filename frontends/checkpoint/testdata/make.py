"""Makes this folder's checkpoints with PyTorch, and what they hold in want.safetensors. Run here with torch, numpy and safetensors."""
from collections import OrderedDict

import torch
from safetensors.torch import save_file

torch.manual_seed(5)
want = {}


def note(file, tensors):
    for name, t in tensors.items():
        want[file + "/" + name] = t.detach().clone().contiguous()


def keep(file, obj, tensors, **options):
    torch.save(obj, file, **options)
    note(file, tensors)


base = OrderedDict([("a.weight", torch.randn(3, 4)), ("a.bias", torch.randn(3)), ("n", torch.tensor(7)), ("empty", torch.zeros(0, 5))])
keep("bare.pth", base, base)
keep("legacy.pth", base, base, _use_new_zipfile_serialization=False)
keep("half.pth", {k: v.half() if v.is_floating_point() else v for k, v in base.items()}, {k: v.half() if v.is_floating_point() else v for k, v in base.items()})
keep("bfloat16.pth", {"w": torch.randn(5, 3).bfloat16()}, {})
want["bfloat16.pth/w"] = torch.load("bfloat16.pth")["w"]
keep("types.pth", t := {"f64": torch.randn(3).double(), "i32": torch.arange(4, dtype=torch.int32), "i16": torch.arange(3, dtype=torch.int16), "i8": torch.tensor([-3, 4], dtype=torch.int8), "u8": torch.tensor([1, 250], dtype=torch.uint8), "b": torch.tensor([True, False])}, t)

model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
model(torch.randn(2, 2, 4, 4)).sum().backward()
optimizer.step()
state = model.state_dict()
keep("wrapped.pth", {"model": state, "epoch": 3, "note": "text", "optimizer": optimizer.state_dict()}, state)
keep("optimizer_object.pth", {"model": state, "optimizer": optimizer}, state)
keep("legacy_wrapped.pth", {"state_dict": state, "optimizer": optimizer}, state, _use_new_zipfile_serialization=False)
keep("ddp.pth", {"module." + k: v for k, v in state.items()}, state)
keep("parameters.pth", OrderedDict(model.named_parameters()), dict(model.named_parameters()))

big = torch.randn(6, 8)
views = {"transposed": big.t(), "rows": big[2:5], "columns": big[:, 1:7:2], "whole": big, "expanded": torch.randn(1, 4).expand(3, 4)}
keep("views.pth", views, views)
channels_last = {"w": torch.randn(4, 3, 2, 5).to(memory_format=torch.channels_last)}
keep("channels_last.pth", channels_last, channels_last)
tied = torch.randn(4, 4)
keep("tied.pth", {"first": tied, "second": tied, "other": tied.clone()}, {"first": tied, "second": tied.clone(), "other": tied.clone()})
note("plain.safetensors", p := {"x": torch.randn(2, 3), "y": torch.randn(4).half()})
save_file(p, "plain.safetensors")
save_file(want, "want.safetensors")
