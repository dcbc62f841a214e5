package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

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

// A header takes memory in proportion to its length, whatever stands in it.
func TestHeaderMemory(t *testing.T) {
	const size = 20 << 20
	repeated := func(format string) string {
		var s strings.Builder
		s.WriteString("{")
		for i := 0; s.Len() < size; i++ {
			if i > 0 {
				s.WriteString(",")
			}
			fmt.Fprintf(&s, format, i)
		}
		return s.String() + "}"
	}
	for name, c := range map[string]struct{ header, want string }{
		"empty tensors":  {repeated(`"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`), "more than"},
		"of other types": {repeated(`"%d":{"dtype":"U16","shape":[0],"data_offsets":[0,0]}`), "more than"},
		"one rank":       {`{"x":{"dtype":"F32","shape":[0` + strings.Repeat(",0", size/2) + `],"data_offsets":[0,0]}}`, "a list of more than 64 numbers"},
		"offsets":        {`{"x":{"dtype":"F32","shape":[0],"data_offsets":[0` + strings.Repeat(",0", size/2) + `]}}`, "a list of more than 64 numbers"},
		"nesting":        {`{"x":` + strings.Repeat("[", size) + strings.Repeat("]", size) + `}`, "header"},
		"other fields":   {`{"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"y":{` + strings.Repeat(`"z":0,`, size/6) + `"z":0}}}`, ""},
		"metadata":       {`{"__metadata__":` + repeated(`"%d":""`) + `}`, "__metadata__"},
		"a dtype":        {`{"x":{"dtype":"` + strings.Repeat("F", size) + `","shape":[0],"data_offsets":[0,0]}}`, "dtype"},
		"a name":         {`{"` + strings.Repeat("x", size) + `":{"dtype":"F33","shape":[0],"data_offsets":[0,0]}}`, "a name of 20971520 bytes"},
		"a long one":     {"{" + strings.Repeat(" ", 33<<20) + "}", "header: have"},
	} {
		t.Run(name, func(t *testing.T) {
			data := file(c.header, 0)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := Parse(data)
			runtime.ReadMemStats(&after)
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				require.Less(t, len(err.Error()), 2000)
			}
			t.Log(time.Since(start), (after.TotalAlloc-before.TotalAlloc)>>20, "MB")
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4*len(data)+(128<<20)))
		})
	}
}
