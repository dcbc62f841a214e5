"""make.py lists: writes the lists of small tensors of the light and adapted families, from golden/reference/states.py.
make.py FOLDER: of the checkpoints that `go test ./compile -run TestRecorded -args -checkpoints FOLDER` wrote, what the definitions in golden/reference give
for them: NAME.safetensors, of each output some elements. Run here with torch and safetensors."""
import math
import sys

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, "../../../golden/reference")
import adapted
import sam
import states
import tiny


class Small:
    """In place of random.Random: the n-th of what there is to choose from, of two the first."""

    def __init__(self, n):
        self.n = n

    def choice(self, of):
        return of[self.n % len(of) if len(of) > 2 else 0]

    def sample(self, of, n):
        return list(of)[:n]


def sequence(n, period):
    """n numbers in [-1,1) that any language makes alike."""
    return torch.tensor([(i * 7919) % period for i in range(n)], dtype=torch.float32) * (2 / period) - 1


def write(path, shapes):
    with open(path, "w") as f:
        for k, s in shapes.items():
            f.write(f"{k} {'x'.join(map(str, s)) or '-'}\n")


if sys.argv[1:] == ["lists"]:
    write("../families/lite-medsam.txt", states.tiny(Small(1), True)[0])
    write("mobile-sam.txt", states.tiny(Small(2))[0])
    for era, n in (("2023", 0), ("v0.1.0", 0), ("2024", 1)):
        write(f"../families/medical-sam-adapter-{era}.txt", states.adapted(Small(n), era)[0])
    base = dict((line.split()[0], tuple(map(int, line.split()[1].strip("-").split("x")))) for line in open("../families/sam.txt"))
    write("samed.txt", states.samed(Small(1), base))
    peft = states.Shapes()
    for module in ("image_encoder.blocks.0.attn.qkv", "image_encoder.blocks.1.mlp.lin1", "mask_decoder.transformer.layers.0.self_attn.q_proj"):
        o, i = base[module + ".weight"]
        peft[f"base_model.model.{module}.lora_A.weight"], peft[f"base_model.model.{module}.lora_B.weight"] = (3, i), (o, 3)
    peft["base_model.model.mask_decoder.iou_token.weight"] = base["mask_decoder.iou_token.weight"]
    write("peft.txt", peft)
    sys.exit()

folder = sys.argv[1]
for name, size, module in (("mobile-sam", 256, tiny), ("lite-medsam", 128, tiny), ("medical-sam-adapter-2023", 128, adapted), ("medical-sam-adapter-v0.1.0", 176, adapted),
                           ("medical-sam-adapter-2024", 160, adapted), ("samed", 160, sam), ("peft", 128, sam)):
    state = load_file(f"{folder}/{'sam' if name in ('samed', 'peft') else name}.safetensors")
    if name == "samed":
        state = sam.with_samed(sam.resized(state, "image_encoder.", size), load_file(f"{folder}/samed.safetensors"))
    if name == "peft":  # adapter_config.json: alpha 6, rank 3
        lora = {k.removeprefix("base_model.model."): v for k, v in load_file(f"{folder}/peft.safetensors").items()}
        for k, v in lora.items():
            if k.endswith(".lora_A.weight"):
                k = k.removesuffix(".lora_A.weight")
                state[k + ".weight"] = state[k + ".weight"] + 2 * (lora[k + ".lora_B.weight"] @ v)
            elif ".lora_" not in k:
                state[k] = v
    encoder, decoder = module.Encoder(state).eval(), module.Decoder(state).eval()
    decoder.size = size
    with torch.no_grad():
        embedding = encoder(2 * sequence(3 * size * size, 9973).reshape(1, 3, size, size))
        h = embedding.shape[-1]
        coords, labels = (sequence(2 * 4 * 2, 101).reshape(2, 4, 2) + 1) / 2 * size, torch.tensor([[1.0, 0, -1, 1], [2, 3, -1, 0]])
        masks, iou = decoder(embedding, None, coords, labels, 3 * sequence(2 * 16 * h * h, 1013).reshape(2, 1, 4 * h, 4 * h), torch.ones(1))
    some = lambda x: x.flatten()[:: math.ceil(x.numel() / 1500)].contiguous()
    save_file({"image_embeddings": some(embedding), "low_res_masks": some(masks), "iou_predictions": iou.contiguous()}, f"{name}.safetensors")
    print(name, tuple(embedding.shape), tuple(masks.shape), embedding.std().item(), masks.std().item())
