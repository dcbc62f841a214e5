"""check_hf.py PROGRAM [ENGINE ...]: transformers' SamModel at random weights, sizes and ways of saving, against what PROGRAM makes of the
folders, and of PEFT's adapters of them (build --merge). Embeddings and all masks and IoUs, for clicks, boxes and mask prompts, may differ by 5e-5
standard deviations. Needs torch, transformers, safetensors, peft."""
import json
import os
import random
import subprocess
import sys
import tempfile

import peft
import torch
from safetensors.torch import load_file, save_file
from transformers import SamConfig, SamModel

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../golden/reference"))
import states
import transformers

transformers.utils.logging.disable_progress_bar()

BAR = 5e-5
program, engines = sys.argv[1], sys.argv[2:] or ["go", "onnxruntime"]


def call(*args, fails=False):
    p = subprocess.run([program, *args], capture_output=True, text=True)
    assert (p.returncode != 0) == fails, " ".join(args) + ": " + p.stderr
    return p.stderr if fails else p.stdout


def model(r, seed, heads, depth):
    """A SamModel of random sizes in the proportions of ViT-B (12 heads), -L (16) and -H (16, wider heads)."""
    head, grid = r.choice([4, 5, 8]), r.choice([6, 8, 15])
    out = r.choice([32, 64])
    every = r.randint(2, 3)
    sizes = dict(image_size=16 * grid, patch_size=16)
    config = SamConfig(
        vision_config=dict(sizes, hidden_size=heads * head, output_channels=out, num_hidden_layers=depth, num_attention_heads=heads, mlp_ratio=r.choice([2.0, 4.0]), window_size=r.choice([3, 4, 5, grid]),
                           global_attn_indexes=list(range(every - 1, depth, every)), num_pos_feats=out // 2, layer_norm_eps=r.choice([1e-6, 1e-5])),
        prompt_encoder_config=dict(sizes, hidden_size=out),
        mask_decoder_config=dict(hidden_size=out, mlp_dim=r.choice([64, 96]), iou_head_hidden_dim=32, layer_norm_eps=r.choice([1e-6, 1e-5, 1e-4])))
    m = SamModel(config).eval()
    state = m.state_dict()
    state.update(states.fill({k: v.shape for k, v in state.items()}, seed))
    state["prompt_encoder.shared_embedding.positional_embedding"] = state["shared_image_embedding.positional_embedding"]
    m.load_state_dict(state)
    return m


def save(m, way, folder):
    """Saves a model in one of the ways that people do; the path to give."""
    m.save_pretrained(folder, max_shard_size="200KB" if "shards" in way else "1GB")
    state = dict(m.state_dict())
    if way == "bin":
        os.remove(f"{folder}/model.safetensors")
        torch.save(state, f"{folder}/pytorch_model.bin")
    elif way == "shards of bin":
        index = json.load(open(f"{folder}/model.safetensors.index.json"))
        os.remove(f"{folder}/model.safetensors.index.json")
        for file in sorted(set(index["weight_map"].values())):
            torch.save(load_file(f"{folder}/{file}"), f"{folder}/{file}".replace("safetensors", "bin"))
            os.remove(f"{folder}/{file}")
        index["weight_map"] = {k: v.replace("safetensors", "bin") for k, v in index["weight_map"].items()}
        json.dump(index, open(f"{folder}/pytorch_model.bin.index.json", "w"))
    elif way == "both copies of the tied matrix":
        save_file({k: v.clone() for k, v in state.items()}, f"{folder}/model.safetensors")
    elif way == "trainer's file":
        torch.save({"state_dict": {"model.sam." + k: v for k, v in state.items()}, "epoch": 3}, f"{folder}/last.ckpt")
        return f"{folder}/last.ckpt"
    elif way == "shards, by the index":
        return f"{folder}/model.safetensors.index.json"
    return folder


def execute(folder, name, feeds, engine):
    save_file({k: v.contiguous() for k, v in feeds.items()}, f"{folder}/in.safetensors")
    call("exec", f"{folder}/artifact/{name}.onnx", "--engine", engine, "--inputs", f"{folder}/in.safetensors", "--outputs", f"{folder}/out.safetensors")
    return load_file(f"{folder}/out.safetensors")


def differs(have, want):
    assert have.shape == want.shape, (have.shape, want.shape)
    return float((have - want).abs().max() / want.std().clamp_min(1e-6))


def prompts(g, size, grid):
    """Arguments of SamModel for B = 2 prompts on one picture, and the same as inputs of the decoder's graph."""
    at = lambda *shape: torch.rand(*shape, generator=g) * size
    points, labels = at(1, 2, 3, 2), torch.randint(0, 2, (1, 2, 3), generator=g)
    box = torch.cat([at(1, 2, 2) / 2, size / 2 + at(1, 2, 2) / 2], -1)
    mask, none = 8 * torch.rand(1, 1, 4 * grid, 4 * grid, generator=g) - 4, torch.zeros(2, 1, 4 * grid, 4 * grid)
    pad = lambda c, l: (torch.cat([c[0], torch.zeros(2, 1, 2)], 1), torch.cat([l[0].float(), -torch.ones(2, 1)], 1))
    corners = box[0].reshape(2, 2, 2), torch.tensor([[2.0, 3.0]] * 2)
    for name, args, (coords, label), given in (
        ("points", dict(input_points=points, input_labels=labels), pad(points, labels), None),
        ("box", dict(input_boxes=box), corners, None),
        ("points and box", dict(input_points=points, input_labels=labels, input_boxes=box), (torch.cat([points[0], corners[0]], 1), torch.cat([labels[0].float(), corners[1]], 1)), None),
        ("points and mask", dict(input_points=points[:, :1], input_labels=labels[:, :1], input_masks=mask), tuple(x[:1] for x in pad(points, labels)), mask),
    ):
        yield name, args, {"point_coords": coords, "point_labels": label, "mask_input": none[: len(coords)] if given is None else given, "has_mask_input": torch.tensor([float(given is not None)])}


def adapted(m, seed, folder, **config):
    """m with a random adapter of PEFT, saved in a folder."""
    m = peft.get_peft_model(m, peft.LoraConfig(**config)).eval()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for k, v in m.named_parameters():
            if "lora_" in k or "modules_to_save" in k:
                v.copy_((2 * torch.rand(v.shape, generator=g) - 1) / v.shape[-1] ** 0.5)
    m.save_pretrained(folder)
    return m.base_model.model


def check(m, path, folder, seed, *flags):
    g = torch.Generator().manual_seed(seed)
    size, patch = m.config.vision_config.image_size, m.config.vision_config.patch_size
    call("build", path, "-o", f"{folder}/artifact", "--force", *flags)
    manifest = json.load(open(f"{folder}/artifact/manifest.json"))
    assert manifest["config"]["layout"] == "transformers"
    image = torch.randn(1, 3, size, size, generator=g)
    worst = 0
    with torch.no_grad():
        want = m.get_image_embeddings(image)
        for engine in engines:
            worst = max(worst, differs(execute(folder, "encoder", {"image": image}, engine)["image_embeddings"], want))
        for name, args, feeds in prompts(g, size, size // patch):
            single, many = (m(image_embeddings=want, multimask_output=multi, **args) for multi in (False, True))
            for engine in engines:
                have = execute(folder, "decoder", {"image_embeddings": want, **feeds}, engine)
                for of, masks, iou in ((single, slice(0, 1), slice(0, 1)), (many, slice(1, None), slice(1, None))):
                    worst = max(worst, differs(have["low_res_masks"][:, masks], of.pred_masks[0]), float((have["iou_predictions"][:, iou] - of.iou_scores[0]).abs().max()))
                    assert worst <= BAR, f"{name}, {engine}: {worst:.1e}"
    return worst


with tempfile.TemporaryDirectory() as top:
    for i, way in enumerate(("safetensors", "shards", "shards, by the index", "bin", "shards of bin", "both copies of the tied matrix", "trainer's file")):
        worst = 0
        for k, (heads, depth) in enumerate(((12, 4), (16, 6), (16, 8))):
            seed, folder = 10 * i + k, f"{top}/{i}-{k}"
            m = model(random.Random(seed), seed, heads, depth)
            worst = max(worst, check(m, save(m, way, folder), folder, seed))
        print(f"{way:32s} 3 models, {worst:.1e} standard deviations", flush=True)
    for i, (what, config) in enumerate((
            ("LoRA of q, k and v", dict(r=4, lora_alpha=8, target_modules=["qkv"])),
            ("rank-stabilized LoRA of the decoder", dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"], use_rslora=True)),
            ("LoRA of MLPs, patterns, saved modules", dict(r=2, lora_alpha=4, target_modules=["lin1", "lin2", "patch_embed.projection"], rank_pattern={"layers.0.mlp.lin1": 3}, alpha_pattern={"lin2": 7},
                                                           modules_to_save=["iou_prediction_head"])))):
        seed, folder = 90 + i, f"{top}/lora-{i}"
        m = model(random.Random(seed), seed, 12, 4)
        m.save_pretrained(folder)
        worst = check(adapted(m, seed, f"{folder}/adapter", **config), folder, folder, seed, "--merge", f"{folder}/adapter/adapter_model.safetensors")
        print(f"{what:32s} 1 model, {worst:.1e} standard deviations", flush=True)
    # What is not lowered is refused by name.
    m = model(random.Random(1), 1, 2, 2)
    m.save_pretrained(f"{top}/refused")
    config = json.load(open(f"{top}/refused/config.json"))
    for where, key, value, says in (("vision_config", "hidden_act", "gelu_new", "vision_config.hidden_act"), ("mask_decoder_config", "num_attention_heads", 4, "num_attention_heads"),
                                    ("prompt_encoder_config", "image_size", 1024, "prompt_encoder_config.image_size"), (None, "model_type", "sam_hq", 'model_type: have "sam_hq"')):
        changed = json.loads(json.dumps(config))
        (changed[where] if where else changed)[key] = value
        json.dump(changed, open(f"{top}/refused/config.json", "w"))
        error = call("inspect", f"{top}/refused", fails=True)
        assert says in error, error
    print("refused by name: 4 configurations")
