package ir

import (
	"cmp"
	"math"
	"slices"

	"syncsam-convert/ir/tensor"
)

// Memory is what the values of one run need beside weights, where most of them live at a time. Sizes are bytes.
type Memory struct {
	Peak    int64    `json:"peak_bytes"`
	At      string   `json:"at"` // the value that is computed then
	Weights int64    `json:"weights_bytes"`
	Living  []Living `json:"living"` // at the peak, largest first
}

// Living is a value in memory.
type Living struct {
	Value string `json:"value"`
	Type  string `json:"type"`
	Bytes int64  `json:"bytes"`
}

// Memory plans a run with symbols bound to sizes: what is computed, and dropped behind its last use and those of its views.
func (p *Program) Memory(syms map[string]int64) (*Memory, error) {
	peak, at, err := p.peak(syms)
	if err != nil {
		return nil, err
	}
	m := &Memory{Peak: peak}
	for _, v := range p.g.Values {
		if v.IsConst() {
			m.Weights += v.Const.NumBytes()
		}
	}
	err = p.lives(syms, func(v *Value, _ int64, living map[*Value]int64) {
		if v == at {
			m.At = v.label()
			for x, size := range living {
				m.Living = append(m.Living, Living{x.label(), x.Type.String(), size})
			}
		}
	})
	slices.SortFunc(m.Living, func(a, b Living) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Value, b.Value)) })
	return m, err
}

// peak is the most that lives at a time, and the first value at which that much does; nil where nothing is computed.
func (p *Program) peak(syms map[string]int64) (most int64, at *Value, err error) {
	err = p.lives(syms, func(v *Value, now int64, _ map[*Value]int64) {
		if now > most {
			most, at = now, v
		}
	})
	return most, at, err
}

// lives shows, at each value, how many bytes live while it is computed, and whose they are; views are the values' that they look at.
func (p *Program) lives(syms map[string]int64, see func(v *Value, now int64, living map[*Value]int64)) error {
	now := int64(0)
	owner, users, living := map[*Value]*Value{}, map[*Value]int{}, map[*Value]int64{}
	for i, v := range p.g.Values {
		switch {
		case v.IsConst(), p.done[v] != nil:
		case v.Op.Class == View && !v.IsInput() && owner[v.Args[0]] != nil:
			owner[v] = owner[v.Args[0]]
		default:
			size, err := v.memory(syms)
			if err != nil {
				return err
			}
			owner[v], living[v] = v, size
			now += min(size, math.MaxInt64-now)
		}
		if o := owner[v]; o != nil {
			users[o]++
		}
		see(v, now, living)
		for _, d := range p.dead[i] {
			if o := owner[d]; o != nil {
				if users[o]--; users[o] == 0 {
					now -= living[o]
					delete(living, o)
				}
			}
		}
	}
	return nil
}

func (v *Value) label() string { return v.Name + "/" + v.Op.Name }

// memory is the size of a value in bytes with symbols bound to sizes.
func (v *Value) memory(syms map[string]int64) (int64, error) {
	dims, err := v.dims(syms)
	if err != nil {
		return 0, err
	}
	return v.bytes(dims)
}

// dims is a value's shape with symbols bound to sizes.
func (v *Value) dims(syms map[string]int64) ([]int64, error) {
	dims := make([]int64, len(v.Type.Shape))
	for i, d := range v.Type.Shape {
		var err error
		if dims[i], err = d.Eval(syms); err != nil {
			return nil, err
		}
	}
	return dims, nil
}

// bytes is the size of a value of that shape while the program runs: half precision is computed in float32.
func (v *Value) bytes(dims []int64) (int64, error) {
	n, err := tensor.Elements(dims)
	return n * inFloat32(v.Type).DType.Size(), err
}
