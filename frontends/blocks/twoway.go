package blocks

import "syncsam-convert/ir"

// DecoderHeads is the number of attention heads of SAM's two-way transformer; no checkpoint tells it.
const DecoderHeads = 8

// TwoWay applies SAM's two-way transformer at s to an image embedding [M,hw,C], M being B or 1, with positions [1,hw,C] and prompt tokens
// [B,T,C]. It gives the tokens and the image, both updated. The first layer's self-attention has neither positions nor residual.
func TwoWay(s Scope, image, position, tokens *ir.Value) (outTokens, outImage *ir.Value) {
	q, k := tokens, image
	depth := s.W.Children(s.Key("layers."))
	if depth == 0 {
		s.W.Shape(s.Key("layers.0.self_attn.q_proj.weight"), 2) // notes what is missing
	}
	for i := range depth {
		l := s.In("layers").In(index(i))
		lin1, lin2 := "lin1", "lin2"
		other := s.W.Has(l.Key("mlp.fc.weight")) // Medical-SAM-Adapter's: the first layer has a residual, too, and positions are in everything
		if other {
			lin1, lin2 = "layers.0.0", "fc"
			if i > 0 {
				q = l.Add(q, tokens)
			}
			q = l.Add(q, attend(l.In("self_attn"), q, q, q))
		} else if i == 0 {
			q = attend(l.In("self_attn"), q, q, q)
		} else {
			p := l.Add(q, tokens)
			q = l.Add(q, attend(l.In("self_attn"), p, p, q))
		}
		q = l.In("norm1").LayerNorm(q, s.W.EpsTwoWay)
		q = l.Add(q, attend(l.In("cross_attn_token_to_image"), l.Add(q, tokens), l.Add(k, position), k))
		q = l.In("norm2").LayerNorm(q, s.W.EpsTwoWay)
		m := l.In("mlp")
		y := m.Relu(m.In(lin1).Linear(q, s.W.Shape(m.Key(lin1+".weight"), 2)[0]))
		q = l.In("norm3").LayerNorm(l.Add(q, m.In(lin2).Linear(y, width(q, -1))), s.W.EpsTwoWay)
		k = l.Add(k, attend(l.In("cross_attn_image_to_token"), l.Add(k, position), l.Add(q, tokens), q))
		k = l.In("norm4").LayerNorm(k, s.W.EpsTwoWay)
	}
	q = s.Add(q, attend(s.In("final_attn_token_to_image"), s.Add(q, tokens), s.Add(k, position), k))
	return s.In("norm_final_attn").LayerNorm(q, EpsDecoder), k
}

// attend is multi-head attention of q [B,T,C] over k and v [B,U,C], whole, so that a pass can choose how it is computed; the inner width comes from
// q_proj.
func attend(s Scope, q, k, v *ir.Value) *ir.Value {
	inner := s.W.Shape(s.Key("q_proj.weight"), 2)[0]
	if inner%DecoderHeads != 0 {
		return s.Fail("q_proj.weight: %d rows do not divide into %d heads", inner, DecoderHeads)
	}
	args := []*ir.Value{q, k, v}
	for i, name := range []string{"q_proj", "k_proj", "v_proj"} {
		l := s.In(name)
		args = append(args, l.factor(width(args[i], -1), inner), l.Param("bias", inner))
	}
	l, out := s.In("out_proj"), width(q, -1)
	return s.Op(ir.MultiHeadAttention.With(ir.HeadsAttrs{Heads: DecoderHeads}), append(args, l.factor(inner, out), l.Param("bias", out))...)
}
