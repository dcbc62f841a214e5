package frontends

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/ir/tensor"
)

// nested is a file of nested dicts: tensors, or what takes their place, by key, and each key's dict.
type nested struct {
	keys   []string
	at     map[string]*tensor.Tensor
	kind   map[string]string
	dict   map[string]string
	beside map[string]string

	where string // what Use was given
	names []string
}

func (n *nested) Keys() []string                 { return n.keys }
func (n *nested) At(key string) *tensor.Tensor   { return n.at[key] }
func (n *nested) Kind(key string) string         { return n.kind[key] }
func (n *nested) Dict(key string) string         { return n.dict[key] }
func (n *nested) Names() []string                { return n.keys }
func (n *nested) Get(name string) *tensor.Tensor { return n.at[name] }
func (n *nested) Dropped() []string              { return nil }
func (n *nested) Use(where string, names, _ []string) error {
	n.where, n.names = where, names
	return nil
}

func (n *nested) Beside(name string) ([]byte, error) {
	if text, ok := n.beside[name]; ok {
		return []byte(text), nil
	}
	return nil, nil
}

// put adds the tensors of a state dict that lies in a dict, their names behind a prefix.
func (n *nested) put(dict, prefix string, state edited) *nested {
	if n.at == nil {
		n.at, n.kind, n.dict, n.beside = map[string]*tensor.Tensor{}, map[string]string{}, map[string]string{}, map[string]string{}
	}
	for _, name := range state.names {
		key := prefix + name
		if dict != "" {
			key = dict + "." + key
		}
		n.keys, n.at[key], n.dict[key] = append(n.keys, key), state.get[name], dict
	}
	return n
}

func tensors(list map[string]*tensor.Tensor) edited {
	return edited{slices.Sorted(maps.Keys(list)), list}
}

func floats(v ...float32) *tensor.Tensor { return tensor.FromFloat32([]int64{int64(len(v))}, v) }

// The place that fits a family is found, whatever it is called; where several fit the rule decides and says so, or asks.
func TestChoose(t *testing.T) {
	ck, err := checkpoint.Open("../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth")
	require.NoError(t, err)
	defer ck.Close()
	model := edit(t, ck, func(name string, x *tensor.Tensor) (string, *tensor.Tensor) { return name, x })
	other := edit(t, ck, func(name string, x *tensor.Tensor) (string, *tensor.Tensor) {
		if name == "mask_decoder.med_token.weight" {
			x = tensor.FromFloat32(x.Dims(), make([]float32, x.Len()))
		}
		return name, x
	})
	respelled := func(old, new string) edited {
		return edit(t, ck, func(name string, x *tensor.Tensor) (string, *tensor.Tensor) {
			return strings.ReplaceAll(name, old, new), x
		})
	}
	perModule := func(dict string) *nested {
		n := &nested{}
		for _, name := range model.names {
			head, rest, _ := strings.Cut(name, ".")
			n.put(strings.TrimPrefix(dict+"."+head, "."), "", tensors(map[string]*tensor.Tensor{rest: model.get[name]}))
		}
		return n
	}
	moments := map[string]*tensor.Tensor{}
	for _, n := range strings.Fields("0 1 2 3 4 5 6 7 8 9") {
		moments["state."+n+".exp_avg"] = floats(1)
	}
	loss := tensors(map[string]*tensor.Tensor{"loss.weight": floats(1, 2)})
	counter := tensors(map[string]*tensor.Tensor{"n_averaged": tensor.FromInt64([]int64{}, []int64{3})})
	for _, c := range []struct {
		name        string
		file        *nested
		weights     string
		where, note string
		err         string
	}{
		{"bare", (&nested{}).put("", "", model), "", "", "", ""},
		{"a prefix of no list", (&nested{}).put("", "wrapped.net_2.", model), "", "wrapped.net_2", "", ""},
		{"a dict of no list", (&nested{}).put("anything", "", model), "", "anything", "", ""},
		{"a dict in a dict and a prefix", (&nested{}).put("a.b", "sam.", model), "", "a.b.sam", "", ""},
		{"a trainer's other modules", (&nested{}).put("state_dict", "model.", model).put("state_dict", "", loss), "", "state_dict.model", "left out: state_dict.loss.*", ""},
		{"averages beside", (&nested{}).put("state_dict_ema", "", other).put("state_dict", "", model), "", "state_dict", "the weights of state_dict (syncsam) are used; state_dict_ema (syncsam) fits, too: --weights KEY chooses it", ""},
		{"averages asked for", (&nested{}).put("state_dict_ema", "", other).put("state_dict", "", model), "state_dict_ema", "state_dict_ema", "", ""},
		{"averages alone", (&nested{}).put("ema", "", other), "", "ema", "averages over training", ""},
		{"averages inside the model's dict", (&nested{}).put("", "", model).put("ema", "", other), "", "", "ema (syncsam) fits, too", ""},
		{"the same twice", (&nested{}).put("model", "", model).put("best", "", model), "", "model", "", ""},
		{"two that differ", (&nested{}).put("", "student.", model).put("", "teacher.", other), "", "", "", "several state dicts fit and differ: student (syncsam), teacher (syncsam); --weights KEY chooses one"},
		{"one of two", (&nested{}).put("", "student.", model).put("", "teacher.", other), "teacher", "teacher", "", ""},
		{"none of two", (&nested{}).put("", "student.", model).put("", "teacher.", other), "pupil", "", "", `have no tensors under "pupil": student (syncsam), teacher (syncsam) would fit`},
		{"an optimizer beside", (&nested{}).put("", "", model).put("optimizer", "", tensors(moments)), "", "", "", ""},
		{"a dict per module", perModule(""), "", "", "", ""},
		{"a dict per module and an optimizer", perModule("net").put("optimizer", "", tensors(moments)), "", "net", "", ""},
		{"a counter", (&nested{}).put("", "", model).put("", "", counter), "", "", "", ""},
		{"an unknown wrapper inside", (&nested{}).put("", "", respelled("mask_decoder.", "mask_decoder.wrapped_.")), "", "", `"wrapped_" is taken for a wrapper's name`, ""},
		{"an unknown wrapper of the encoder", (&nested{}).put("m", "", respelled("sam_img_encoder.", "sam_img_encoder.inner.")), "", "m", `"inner" is taken`, ""},
		{"a key too many", (&nested{}).put("", "", model).put("", "", loss), "", "", "", "unexpected loss.weight"},
		{"nothing that fits", (&nested{}).put("", "x.y.", loss), "", "", "", "unknown model family: the 1 keys fit none of"},
		{"what is there is listed", (&nested{}).put("", "backbone.", model), "nothing", "", "", "backbone (syncsam) would fit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, notes, err := Load(c.file, Options{Weights: c.weights})
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.NotContains(t, err.Error(), "\n")
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.where, c.file.where)
			require.Len(t, c.file.names, len(model.names)+map[bool]int{true: 1}[c.name == "a counter"])
			if c.note == "" {
				require.Empty(t, notes)
			} else {
				require.Contains(t, strings.Join(notes, "\n"), c.note)
			}
		})
	}

	// What stands in a needed tensor's place is named; the shards of another program leave nothing.
	file := (&nested{}).put("", "net.", model)
	key := "net.mask_decoder.med_token.weight"
	file.at[key], file.kind[key] = nil, "a sparse tensor"
	_, _, err = Load(file, Options{})
	require.ErrorContains(t, err, "unusable mask_decoder.med_token.weight: it is a sparse tensor")
	empty := edit(t, ck, func(name string, x *tensor.Tensor) (string, *tensor.Tensor) { return name, floats() })
	_, _, err = Load((&nested{}).put("module", "", empty), Options{})
	require.ErrorContains(t, err, "ZeRO stage 3")
}

// Constants of the preprocessing that a file carries are compared with the family's, taken where they differ, refused where they cannot be.
func TestSavedConstants(t *testing.T) {
	ck, err := checkpoint.Open("../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth")
	require.NoError(t, err)
	defer ck.Close()
	model := edit(t, ck, func(name string, x *tensor.Tensor) (string, *tensor.Tensor) { return name, x })
	cube := tensor.FromFloat32([]int64{3, 1, 1}, []float32{123.675, 116.28, 103.53})
	for _, c := range []struct {
		name       string
		mean, std  *tensor.Tensor
		have       [3]float64 // the mean taken
		note, fail string
	}{
		{"the family's", cube, floats(58.395, 57.12, 57.375), imageNetMean, "", ""},
		{"the family's on 0 to 1", floats(.485, .456, .406), floats(.229, .224, .225), imageNetMean, "", ""},
		{"others", floats(100, 90, 80), floats(50, 50, 50), [3]float64{100, 90, 80}, "pixel_mean of the file is [100 90 80] and not the family's [123.675 116.28 103.53]", ""},
		{"one for all", floats(.5), floats(.5), [3]float64{127.5, 127.5, 127.5}, "pixel_std of the file is [127.5 127.5 127.5]", ""},
		{"nothing", floats(0, 0, 0), floats(1, 1, 1), [3]float64{}, "", "pixel_mean: have [0 0 0], want [123.675 116.28 103.53]"},
		{"zero deviation", cube, floats(0, 50, 50), [3]float64{}, "", "pixel_std: have [0 50 50], want [58.395 57.12 57.375]"},
		{"two", floats(1, 2), floats(50, 50, 50), [3]float64{}, "", "it is not three numbers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := tensors(map[string]*tensor.Tensor{"pixel_mean": c.mean, "pixel_std": c.std})
			for _, file := range []*nested{(&nested{}).put("", "", model).put("", "", state), (&nested{}).put("", "model.", model).put("", "", state)} {
				m, notes, err := Load(file, Options{})
				if c.fail != "" {
					require.ErrorContains(t, err, c.fail)
					continue
				}
				require.NoError(t, err)
				require.InDeltaSlice(t, c.have[:], m.Meta.Preprocess.Mean[:], 1e-3)
				require.Contains(t, strings.Join(notes, "\n"), c.note)
			}
		})
	}
}
