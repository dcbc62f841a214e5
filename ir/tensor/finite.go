package tensor

import "encoding/binary"

// A masked exponent is all ones exactly for NaN and the infinities; in each word every lane is tested at once.
var exponents = map[DType]struct {
	mask uint64 // the exponent's bits in each lane
	one  uint64 // the lowest exponent bit in each lane: mask + one carries out of a lane exactly when it is all ones
	bits uint   // of a lane
}{
	Float32:  {0x7f8000007f800000, 0x0080000000800000, 32},
	Float16:  {0x7c007c007c007c00, 0x0400040004000400, 16},
	BFloat16: {0x7f807f807f807f80, 0x0080008000800080, 16},
	Float64:  {0x7ff0000000000000, 0x0010000000000000, 64},
}

// NonFinite counts the NaN and infinite elements among data of a type, none in integers.
func NonFinite(d DType, data []byte) int {
	e, ok := exponents[d]
	if !ok {
		return 0
	}
	var top uint64 // the sign bit of each lane, where the carry lands
	for s := e.bits - 1; s < 64; s += e.bits {
		top |= 1 << s
	}
	count := 0
	for len(data) >= 8 {
		if w := (binary.LittleEndian.Uint64(data)&e.mask + e.one) & top; w != 0 {
			for ; w != 0; w &= w - 1 {
				count++
			}
		}
		data = data[8:]
	}
	if len(data) > 0 { // a part of a word: pad with zeros, which are finite
		var last [8]byte
		copy(last[:], data)
		for w := (binary.LittleEndian.Uint64(last[:])&e.mask + e.one) & top; w != 0; w &= w - 1 {
			count++
		}
	}
	return count
}
