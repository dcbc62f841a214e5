"""Makes this folder's small SamModel with transformers, in two shards, and what it gives in want.safetensors. Run here with torch,
transformers and safetensors."""
import torch
from safetensors.torch import save_file
from transformers import SamConfig, SamModel

torch.manual_seed(7)
sizes = dict(image_size=64, patch_size=16)
m = SamModel(SamConfig(
    vision_config=dict(sizes, hidden_size=12, output_channels=16, num_hidden_layers=2, num_attention_heads=3, mlp_ratio=2.0, window_size=3, global_attn_indexes=[1], num_pos_feats=8),
    prompt_encoder_config=dict(sizes, hidden_size=16, mask_input_channels=4),
    mask_decoder_config=dict(hidden_size=16, mlp_dim=8, iou_head_hidden_dim=8, layer_norm_eps=1e-3))).eval()
state = {k: torch.randn_like(v) * 0.4 + (k.split(".")[-2].startswith("layer_norm") and k.endswith("weight")) for k, v in m.state_dict().items()}
state = {k: v.half().float() for k, v in state.items()}
state["prompt_encoder.shared_embedding.positional_embedding"] = state["shared_image_embedding.positional_embedding"]
m.load_state_dict(state)
m.half().save_pretrained(".", max_shard_size="30KB")
m.float()
image, points = torch.randn(1, 3, 64, 64), torch.tensor([[[[20.0, 30.0], [50.5, 7.0]]]])
with torch.no_grad():
    embedding = m.get_image_embeddings(image)
    one, all_ = (m(image_embeddings=embedding, input_points=points, input_labels=torch.tensor([[[1, 0]]]), multimask_output=multi) for multi in (False, True))
save_file({"image": image, "image_embeddings": embedding.contiguous(), "points": points, "low_res_masks": torch.cat([one.pred_masks[0], all_.pred_masks[0]], 1).contiguous(),
           "iou_predictions": torch.cat([one.iou_scores[0], all_.iou_scores[0]], 1).contiguous()}, "want.safetensors")
