package pictures

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// filled fills path data of Outline by the even-odd rule.
func filled(t *testing.T, path string, w, h int) *Mask {
	t.Helper()
	m := NewMask(w, h)
	x, y := 0, 0
	for path != "" {
		var n int
		switch op := path[0]; op {
		case 'M':
			_, err := fmt.Sscanf(path, "M%d %d", &x, &y)
			require.NoError(t, err)
			path = path[1+strings.IndexAny(path[1:], "hv"):]
		case 'z':
			path = path[1:]
		case 'h', 'v':
			_, err := fmt.Sscanf(path[1:], "%d", &n)
			require.NoError(t, err)
			path = path[1+strings.IndexAny(path[1:], "hvzM"):]
			if op == 'h' {
				x += n
				continue
			}
			for row := min(y, y+n); row < max(y, y+n); row++ { // every upright edge flips what lies right of it
				for u := x; u < w; u++ {
					m.Pix[row*w+u] ^= 1
				}
			}
			y += n
		}
	}
	return m
}

// An outline, filled, is the mask that it was made of.
func TestOutline(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	for i := range 500 {
		m := NewMask(1+r.IntN(12), 1+r.IntN(12))
		for k := range m.Pix {
			if r.IntN(3) < 1+i%2 {
				m.Pix[k] = 1
			}
		}
		path := m.Outline(100)
		require.Equal(t, m, filled(t, path, m.W, m.H), path)
	}
	m := &Mask{3, 3, []uint8{1, 1, 1, 1, 0, 1, 1, 1, 1}}
	require.Equal(t, "M0 0h3v3h-3v-3zM1 2h1v-1h-1v1z", m.Outline(9))
	require.Empty(t, NewMask(4, 4).Outline(9))
	big := NewMask(1000, 10) // blocks of ten pixels
	for x := range 995 {
		big.Pix[3*1000+x], big.Pix[4*1000+x] = 1, 1
	}
	require.Empty(t, big.Outline(100))
	for k := range 600 {
		big.Pix[k*1000/60%10000] = 1
	}
	for x := range 500 {
		for y := range 10 {
			big.Pix[y*1000+x] = 1
		}
	}
	require.Equal(t, "M0 0h500v10h-500v-10z", big.Outline(100))
}
