package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"slices"
	"strings"
)

// A record is a file in a zip archive, as its directory and its own header say, which must agree.
type record struct {
	name          string
	flags, method uint16
	crc           uint32 // 0: not computed
	packed, size  uint64
	header        uint64 // where its own header is
	at            uint64 // where its data are
}

// What zip archives consist of.
const (
	localMagic, centralMagic, endMagic       = "PK\x03\x04", "PK\x01\x02", "PK\x05\x06"
	wideEndMagic, locatorMagic               = "PK\x06\x06", "PK\x06\x07"
	localBytes, centralBytes, endBytes       = 30, 46, 22
	wideEndBytes, locatorBytes, commentBytes = 56, 20, 1 << 16
	flagEncrypted, flagDescriptor            = 1, 8
	maxRecords                               = maxEntries + 64 // the storages and what lies beside them
	saturated                                = 1<<32 - 1
)

var (
	errNoDirectory = errors.New("the directory at its end is missing")
	errPart        = errors.New("it is a part of an archive in several files")
)

// directory reads an archive in one way only: its files lie one behind the other from the first byte to the directory, the directory ends where the
// archive does, and both say the same of each. What readers understand in different ways is an error.
func directory(data []byte) ([]record, error) {
	le := binary.LittleEndian
	end := bytes.LastIndex(data[max(0, len(data)-endBytes-commentBytes):], []byte(endMagic))
	if end += max(0, len(data)-endBytes-commentBytes); end < 0 || len(data)-end < endBytes {
		return nil, errNoDirectory
	}
	e := data[end:]
	if int(le.Uint16(e[20:])) != len(e)-endBytes {
		return nil, errors.New("there is something behind its end (truncated?)")
	}
	if le.Uint16(e[4:]) != 0 && le.Uint16(e[4:]) != 1<<16-1 || le.Uint16(e[6:]) != le.Uint16(e[4:]) || le.Uint16(e[8:]) != le.Uint16(e[10:]) {
		return nil, errPart
	}
	count, size, start, stop := uint64(le.Uint16(e[10:])), uint64(le.Uint32(e[12:])), uint64(le.Uint32(e[16:])), uint64(end)
	if end >= locatorBytes+wideEndBytes && string(data[end-locatorBytes:][:4]) == locatorMagic {
		at := le.Uint64(data[end-locatorBytes+8:])
		if at != uint64(end-locatorBytes-wideEndBytes) || string(data[at:][:4]) != wideEndMagic {
			return nil, errors.New("its end is not where its locator says")
		}
		w := data[at:]
		if le.Uint64(w[4:]) != wideEndBytes-12 { // what it says of its own length
			return nil, errors.New("its end is not where its locator says")
		}
		if le.Uint32(data[end-locatorBytes+4:]) != 0 || le.Uint32(data[end-4:]) != 1 || le.Uint32(w[16:]) != 0 || le.Uint32(w[20:]) != 0 || le.Uint64(w[24:]) != le.Uint64(w[32:]) {
			return nil, errPart
		}
		for _, pair := range [][3]uint64{{count, le.Uint64(w[32:]), 1<<16 - 1}, {size, le.Uint64(w[40:]), saturated}, {start, le.Uint64(w[48:]), saturated}} {
			if pair[0] != pair[1] && pair[0] != pair[2] {
				return nil, errors.New("its two ends differ")
			}
		}
		count, size, start, stop = le.Uint64(w[32:]), le.Uint64(w[40:]), le.Uint64(w[48:]), at
	}
	if start > stop || size != stop-start {
		return nil, fmt.Errorf("its directory: have %d bytes at %d, want them to end at %d (something before the archive, or truncated?)", size, start, stop)
	}
	if count > maxRecords {
		return nil, fmt.Errorf("have %d files, want at most %d", count, maxRecords)
	}
	records := make([]record, 0, min(count, size/centralBytes))
	for rest := data[start:stop]; len(rest) > 0; {
		r, n, err := central(rest)
		if err != nil {
			return nil, err
		}
		if records, rest = append(records, r), rest[n:]; uint64(len(records)) > count {
			break
		}
	}
	if uint64(len(records)) != count {
		return nil, fmt.Errorf("its directory has not the %d files that its end says", count)
	}
	return records, lieBehindEachOther(records, data[:start])
}

// central reads a record of the directory.
func central(b []byte) (r record, n int, err error) {
	le := binary.LittleEndian
	if len(b) < centralBytes || string(b[:4]) != centralMagic {
		return r, 0, errors.New("its directory is damaged")
	}
	name, extra, comment := int(le.Uint16(b[28:])), int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
	if n = centralBytes + name + extra + comment; n > len(b) {
		return r, 0, errors.New("its directory is damaged")
	}
	r = record{name: string(b[centralBytes:][:name]), flags: le.Uint16(b[8:]), method: le.Uint16(b[10:]), crc: le.Uint32(b[16:]),
		packed: uint64(le.Uint32(b[20:])), size: uint64(le.Uint32(b[24:])), header: uint64(le.Uint32(b[42:]))}
	err = widen(b[centralBytes+name:][:extra], &r.size, &r.packed, &r.header)
	const folder = 0x10 // of the attributes that DOS had
	switch {
	case err != nil:
	case strings.ContainsRune(r.name, 0):
		err = errors.New("its name has a zero in it")
	case le.Uint16(b[34:]) != 0:
		err = errPart
	case (le.Uint32(b[38:])&folder != 0 || strings.HasSuffix(r.name, "/")) && (r.size != 0 || !strings.HasSuffix(r.name, "/")):
		err = errors.New("some readers take it for a folder")
	}
	if err != nil {
		err = fmt.Errorf("entry %q: %w", r.name, err)
	}
	return r, n, err
}

// widen takes 64-bit values out of an extra field for those that are saturated.
func widen(extra []byte, values ...*uint64) error {
	le := binary.LittleEndian
	var wide []byte
	for len(extra) >= 4 {
		kind, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		if n > len(extra)-4 {
			break // padding that is no field; torch.save's is one
		}
		if kind == 1 {
			if wide != nil {
				return errors.New("it has two sizes of 64 bits")
			}
			wide = extra[4:][:n:n]
		}
		extra = extra[4+n:]
	}
	for _, v := range values {
		if *v == saturated && wide != nil {
			if len(wide) < 8 {
				return errors.New("its size of 64 bits is missing")
			}
			*v, wide = le.Uint64(wide), wide[8:]
		}
	}
	return nil
}

// lieBehindEachOther finds each file's data, and compares its own header with the directory's.
func lieBehindEachOther(records []record, files []byte) error {
	order := make([]*record, len(records))
	for i := range records {
		order[i] = &records[i]
	}
	slices.SortFunc(order, func(a, b *record) int { return cmp.Compare(a.header, b.header) })
	names := map[string]string{}
	next := uint64(0)
	for i, r := range order {
		until := uint64(len(files))
		if i+1 < len(order) {
			until = order[i+1].header
		}
		err := error(nil)
		if r.header != next {
			err = fmt.Errorf("have it at byte %d, want it at %d, where the one before ends", r.header, next)
		} else if until < r.header || until > uint64(len(files)) {
			err = errors.New("it lies in another (truncated?)")
		} else {
			err = r.local(files[r.header:until])
		}
		folded := strings.ToLower(path.Clean(strings.ReplaceAll(r.name, `\`, "/")))
		if other, twice := names[folded]; twice && err == nil && other == r.name {
			err = errors.New("it occurs twice")
		} else if twice && err == nil {
			err = fmt.Errorf("some readers take it for %q", other)
		}
		if err != nil {
			return fmt.Errorf("entry %q: %w", r.name, err)
		}
		names[folded], next = r.name, until
	}
	if next != uint64(len(files)) {
		return errors.New("there is something between its files and its directory")
	}
	return nil
}

// local compares a file's own header, which b begins with, with the directory's; b must end with the file.
func (r *record) local(b []byte) error {
	le := binary.LittleEndian
	if len(b) < localBytes || string(b[:4]) != localMagic {
		return errors.New("its header is damaged")
	}
	name, extra := int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	if localBytes+name+extra > len(b) {
		return errors.New("its header is cut short")
	}
	flags, method, crc := le.Uint16(b[6:]), le.Uint16(b[8:]), le.Uint32(b[14:])
	packed, size := uint64(le.Uint32(b[18:])), uint64(le.Uint32(b[22:]))
	if err := widen(b[localBytes+name:][:extra], &size, &packed); err != nil {
		return err
	}
	later := r.flags&flagDescriptor != 0
	own := string(b[localBytes:][:name])
	switch {
	case own != r.name:
		return fmt.Errorf("its header names it %q", own)
	case flags != r.flags || method != r.method:
		return fmt.Errorf("its header has flags %#x and method %d, the directory %#x and %d", flags, method, r.flags, r.method)
	case (packed != r.packed || size != r.size || crc != r.crc) && !(later && crc == 0 && (packed == 0 || packed == saturated) && (size == 0 || size == saturated)):
		return fmt.Errorf("its header has %d bytes and sum %#x, the directory %d and %#x", size, crc, r.size, r.crc)
	}
	at := uint64(localBytes + name + extra)
	if r.packed > uint64(len(b))-at {
		return fmt.Errorf("have %d bytes, want %d (truncated?)", uint64(len(b))-at, r.packed)
	}
	r.at = r.header + at
	if rest := b[at+r.packed:]; len(rest) > 0 && (!later || !r.describes(rest)) {
		return errors.New("there is something between it and the next")
	}
	return nil
}

// describes reports whether b is the descriptor that follows a file whose header leaves its sizes out: with or without a signature, in 32 or 64 bits.
func (r *record) describes(b []byte) bool {
	le := binary.LittleEndian
	b = bytes.TrimPrefix(b, []byte("PK\x07\x08"))
	switch len(b) {
	case 12:
		return le.Uint32(b) == r.crc && uint64(le.Uint32(b[4:])) == r.packed && uint64(le.Uint32(b[8:])) == r.size
	case 20:
		return le.Uint32(b) == r.crc && le.Uint64(b[4:]) == r.packed && le.Uint64(b[12:]) == r.size
	}
	return false
}

// content gives a stored file's bytes.
func (r *record) content(data []byte) ([]byte, error) {
	if r.method != 0 || r.packed != r.size || r.flags&flagEncrypted != 0 {
		return nil, fmt.Errorf("entry %q is compressed or encrypted, torch.save stores entries plainly; unpack the file and pack it again with zip -0 -r", r.name)
	}
	return data[r.at:][:r.size:r.size], nil
}

// check compares a file's bytes with their sum, unless it was not computed.
func (r *record) check(content []byte) error {
	if have := crc32.ChecksumIEEE(content); r.crc != 0 && have != r.crc {
		return fmt.Errorf("zip: entry %q: have the sum %08x, want %08x: it is damaged", r.name, have, r.crc)
	}
	return nil
}
