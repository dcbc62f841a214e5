package frontends

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/ir/tensor/safetensors"
)

func TestQuick(t *testing.T) {
	ck, ref := os.Getenv("CK"), os.Getenv("REF")
	c, err := checkpoint.Open(ck)
	require.NoError(t, err)
	require.NoError(t, c.CheckFinite(context.Background()))
	m, err := Load(c, "")
	require.NoError(t, err)
	t.Log(m.Meta, c.Globals())
	r, err := safetensors.Open(ref)
	require.NoError(t, err)
	p, err := ir.Compile(m.Graph("encoder"))
	require.NoError(t, err)
	t0 := time.Now()
	key := os.Getenv("KEY")
	out, err := p.Run(context.Background(), map[string]*tensor.Tensor{"image": r.Get(key + "input")})
	require.NoError(t, err)
	t.Log("encoder", time.Since(t0), len(m.Graph("encoder").Values))
	for n, x := range out {
		d, err := tensor.Compare(x, r.Get(key+n))
		require.NoError(t, err)
		t.Log(n, d.Relative(), d)
	}
}
