package safetensors

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
)

func file(header string, data int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), make([]byte, data)...)
}

func TestRoundTrip(t *testing.T) {
	all := []Named{
		{"b", tensor.FromFloat32([]int64{2, 3}, []float32{1, 2, 3, 4, 5, 6})},
		{"a", tensor.FromInt64([]int64{}, []int64{-7})},
		{"half", tensor.Cast(tensor.FromFloat32([]int64{3}, []float32{1, 2, 3}), tensor.Float16)},
		{"none", tensor.FromFloat32([]int64{0, 4}, nil)},
		{"flags", tensor.FromBool([]int64{2}, []bool{true, false})},
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, WriteFile(path, all, map[string]string{"k": "v"}))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, map[string]string{"k": "v"}, f.Metadata)
	require.Len(t, f.Tensors, len(all))
	for _, n := range all {
		require.True(t, tensor.Equal(tensor.Dense(n.Tensor), f.Get(n.Name)), n.Name)
	}
	require.Nil(t, f.Get("other"))
	var again bytes.Buffer
	require.NoError(t, Write(&again, all, map[string]string{"k": "v"}))
}

// Tensors of types that are not computed with are listed apart.
func TestOtherTypes(t *testing.T) {
	f, err := Parse(file(`{"a":{"dtype":"U16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"c":{"dtype":"F4","shape":[8],"data_offsets":[4,8]}}`, 12))
	require.NoError(t, err)
	require.Len(t, f.Tensors, 1)
	require.Equal(t, []Other{{"a", "U16", []int64{2}}, {"c", "F4", []int64{8}}}, f.Other)
	require.Nil(t, f.Get("a"))
}

func TestHostileHeaders(t *testing.T) {
	for want, data := range map[string][]byte{
		"x": file(`{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,12]}}`, 16),
		"y": file(`{"y":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, 12),
		"z": file(`{"z":{"dtype":"Q7","shape":[4],"data_offsets":[0,16]}}`, 16),
		"w": file(`{"w":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}`, 16),
		"v": file(`{"v":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}`, 16),
		"u": file(`{"u":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}`, 16),
		"":  file(`{"x":`, 0),
		"t": file(`{"t":{"dtype":"U16","shape":[4],"data_offsets":[0,16]}}`, 16),
		"s": file(`{"r":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"s":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[12,16]}}`, 16),
		"q": file(`{"q":{"dtype":"U16","shape":[2],"data_offsets":[0,4]},"q":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 16),
	} {
		_, err := Parse(data)
		require.ErrorContains(t, err, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(file(`{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"__metadata__":{"a":"b"}}`, 16))
	f.Add(file(`{}`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := Parse(data)
		if err != nil {
			return
		}
		for _, n := range x.Tensors {
			require.EqualValues(t, n.Tensor.NumBytes(), len(n.Tensor.Bytes()))
		}
	})
}
