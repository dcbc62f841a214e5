package clicks

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/pictures"
)

// maskOf reads rows of '.' and '#'.
func maskOf(rows ...string) *pictures.Mask {
	m := pictures.NewMask(len(rows[0]), len(rows))
	for y, r := range rows {
		for x, c := range r {
			if c == '#' {
				m.Pix[y*m.W+x] = 1
			}
		}
	}
	return m
}

// The distance transform agrees with the definition on every pixel of random masks, borders included.
func TestSquaredDistance(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		m := pictures.NewMask(1+rng.IntN(23), 1+rng.IntN(19))
		fill := rng.Float64()
		for i := range m.Pix {
			if rng.Float64() < 1-fill*fill*fill {
				m.Pix[i] = 1
			}
		}
		for i, have := range squaredDistance(m) {
			x, y := i%m.W, i/m.W
			want := 0
			if m.Pix[i] == 1 {
				want = 1 << 30
				for oy := -1; oy <= m.H; oy++ {
					for ox := -1; ox <= m.W; ox++ {
						outside := ox < 0 || oy < 0 || ox == m.W || oy == m.H || m.Pix[oy*m.W+ox] == 0
						if d := (x-ox)*(x-ox) + (y-oy)*(y-oy); outside && d < want {
							want = d
						}
					}
				}
			}
			require.Equal(t, want, have, "%d x %d at %d,%d", m.W, m.H, x, y)
		}
	}
}

func TestBox(t *testing.T) {
	box, ok := Box(maskOf(
		"##.....",
		"...#...",
		"..#.#..",
		".......",
		"......#"))
	require.True(t, ok)
	require.Equal(t, [4]int{2, 1, 5, 3}, box, "three diagonal neighbours are one component, larger than two pixels")
	_, ok = Box(maskOf("....", "...."))
	require.False(t, ok)
}

func TestFirst(t *testing.T) {
	c, ok := First(maskOf(
		"....#",
		".###.",
		".###.",
		".###.",
		"....."))
	require.True(t, ok)
	require.Equal(t, Click{2, 2, 1}, c)
	c, _ = First(maskOf("####", "####"))
	require.Equal(t, Click{0, 0, 1}, c, "the border is outside; the first in row order wins")
	_, ok = First(maskOf("..", ".."))
	require.False(t, ok)
}

func TestNext(t *testing.T) {
	truth := maskOf(
		"###....",
		"###....",
		"###....",
		".......")
	next := func(rows ...string) Click {
		c, ok := Next(truth, maskOf(rows...))
		require.True(t, ok)
		return c
	}
	require.Equal(t, Click{1, 1, 1}, next(".......", ".......", ".......", "......."))
	require.Equal(t, Click{4, 1, 0}, next("..#....", "..#.###", "###.###", "......."), "six against four")
	require.Equal(t, Click{0, 0, 1}, next("..#....", "..#..##", "###..##", "......."), "missed and false of one size: missed first")
	require.Equal(t, Click{5, 2, 0}, next("..#....", "..#.###", "###.###", "....###"), "nine against four")
	_, ok := Next(truth, truth)
	require.False(t, ok)
}

func TestDSC(t *testing.T) {
	a, b := maskOf("##..", "...."), maskOf(".##.", "....")
	require.InDelta(t, 0.5, DSC(a, b), 1e-7)
	require.Equal(t, 1.0, DSC(maskOf("...."), maskOf("....")), "two empty masks are equal")
	require.InDelta(t, 0, DSC(maskOf("##"), maskOf("..")), 1e-7)
	require.Equal(t, 1.0, DSC(a, a))
	require.Less(t, DSC(maskOf(strings.Repeat("#", 100)), maskOf(strings.Repeat(".", 100))), 1e-8)
}
