package blocks

import "syncsam-convert/ir"

// ResNet is the configuration of torchvision's ResNet, read off shapes.
type ResNet struct {
	Bottleneck bool
	Blocks     [4]int64 // per stage
}

// ReadResNet derives the configuration of the network at s.
func ReadResNet(s Scope) ResNet {
	r := ResNet{Bottleneck: s.W.Has(s.Key("stage1.0.conv3.weight"))}
	for i := range r.Blocks {
		r.Blocks[i] = max(1, s.W.Children(s.Key("stage"+index(int64(i+1))+".")))
	}
	return r
}

// Stem is conv 7x7 stride 2, BatchNorm, ReLU, max-pool 3x3 stride 2: a quarter of the side.
func (r ResNet) Stem(s Scope, x *ir.Value) *ir.Value {
	st := s.In("stage0")
	x = st.In("0").ConvNoBias(x, s.W.Shape(st.Key("0.weight"), 4)[0], 7, 2, 3)
	x = st.In("2").Relu(st.In("1").BatchNorm(x))
	return st.In("3").Op(ir.MaxPool.With(ir.MaxPoolAttrs{Kernel: []int64{3, 3}, Strides: []int64{2, 2}, Pads: []int64{1, 1, 1, 1}}), x)
}

// Stage applies stage i (1 to 4); stages after the first halve the side.
func (r ResNet) Stage(s Scope, x *ir.Value, i int) *ir.Value {
	st := s.In("stage" + index(int64(i)))
	for k := range r.Blocks[i-1] {
		stride := int64(1)
		if i > 1 && k == 0 {
			stride = 2
		}
		x = r.block(st.In(index(k)), x, stride)
	}
	return x
}

// block is a basic block (3x3, 3x3) or a bottleneck (1x1, 3x3 with the stride, 1x1), plus the shortcut.
func (r ResNet) block(s Scope, x *ir.Value, stride int64) *ir.Value {
	layer := func(y *ir.Value, n string, k, stride int64) *ir.Value {
		c := s.In("conv" + n)
		y = c.ConvNoBias(y, s.W.Shape(c.Key("weight"), 4)[0], k, stride, k/2)
		return s.In("bn" + n).BatchNorm(y)
	}
	var y *ir.Value
	if r.Bottleneck {
		y = s.Relu(layer(x, "1", 1, 1))
		y = s.Relu(layer(y, "2", 3, stride))
		y = layer(y, "3", 1, 1)
	} else {
		y = s.Relu(layer(x, "1", 3, stride))
		y = layer(y, "2", 3, 1)
	}
	if d := s.In("downsample"); s.W.Has(d.Key("0.weight")) {
		x = d.In("1").BatchNorm(d.In("0").ConvNoBias(x, width(y, 1), 1, stride, 0))
	}
	return s.Relu(s.Add(y, x))
}
