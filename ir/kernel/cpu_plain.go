//go:build !amd64

package kernel

// What only amd64 has assembly for.

func sumLanes([]float32, *[16]float64) int              { return 0 }
func squaresLanes([]float32, *[16]float64, float32) int { return 0 }
func largestLanes([]float32, *[16]float32) int          { return 0 }

func transposed(int, int, []float32, int, []float32, int) int { return 0 }

func copyRows(k int, x []float32, ldx int, y []float32) { plainCopyRows(k, x, ldx, y) }

func hasGather() bool { return false }

func gather([]float32, []int, *[4]int, []float32) { panic("BUG: there is no gathering here") }

func byteTile(int, []uint8, int, []int8, []int32) bool { return false }

func transposedBytes(int, int, []uint8, int, []uint8, int) (int, int) { return 0, 0 }

func addedPairs(_, _, _ []float32) int { return 0 }
