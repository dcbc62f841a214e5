// Package pickle reads pickles as data: dicts, lists, tuples, numbers and texts. What a name in a pickle means its caller says; nothing else is called,
// and one budget bounds the memory of all that is made.
package pickle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Bounds of a pickle. Real checkpoints stay two orders of magnitude below them.
const (
	maxPickle = 32 << 20 // bytes
	maxOps    = 8 << 20
	maxMarks  = 10_000 // open at a time
)

// What a container, a slot in one, an item of a dict and an entry of the memo take at most, in bytes, as they grow.
const (
	containerBytes = 48
	slotBytes      = 32
	itemBytes      = 64
	memoBytes      = 64
)

// A Budget is the bytes of memory that may still be taken.
type Budget struct{ left, all int }

// NewBudget is in proportion to a pickle's length: a small one takes little.
func NewBudget(length int) *Budget {
	const base, factor, most = 48 << 20, 4, 112 << 20
	n := min(base+factor*min(length, most), most)
	return &Budget{n, n}
}

// Take uses bytes of it up. Its error says that there are none left.
func (b *Budget) Take(bytes int) error {
	if bytes < 0 || bytes > b.left {
		return fmt.Errorf("pickle: what it describes takes more than %d MB of memory, which no checkpoint of its size does", b.all>>20)
	}
	b.left -= bytes
	return nil
}

// Values are nil, bool, int, *big.Int, float64, string, []byte, and these, and what the functions of the caller give.
type (
	// A Dict holds its items in order; a key that is set twice is there twice.
	Dict struct{ Items []Item }
	// An Item is a dict's.
	Item struct{ Key, Value any }
	// A List can grow.
	List struct{ Items []any }
	// A Tuple does not.
	Tuple struct{ Items []any }
	// A Set is there; what is in it is not kept.
	Set struct{}
)

// Set adds an item.
func (d *Dict) Set(key, value any) { d.Items = append(d.Items, Item{key, value}) }

// SetState ignores attributes: those of an OrderedDict say nothing of its items.
func (*Dict) SetState(any) error { return nil }

// Append adds a value.
func (l *List) Append(v any) { l.Items = append(l.Items, v) }

// What the opcodes need of a value: REDUCE, INST, OBJ and NEWOBJ call one, BUILD gives it its state, SETITEM, APPEND and ADDITEMS fill it.
type (
	callable interface{ Call(args []any) (any, error) }
	stateful interface{ SetState(state any) error }
	setter   interface{ Set(key, value any) }
	appender interface{ Append(v any) }
	adder    interface{ Add(v any) }
	sized    interface{ Memory() int } // bytes that a call's result takes, where they are many
)

// Add keeps nothing.
func (*Set) Add(any) {}

// A Machine reads pickles, one after another. Find gives what a global name means (which may have a method Call), Persistent what a persistent id does.
type Machine struct {
	Find       func(module, name string) any
	Persistent func(id any) (any, error)
	Budget     *Budget

	stack []any
	marks []int // places in the stack
	high  int   // the most that the stack ever held
	memo  map[int]any
}

// Load reads the pickle that data begins with, and gives its object and its length.
func (m *Machine) Load(data []byte) (v any, n int, err error) {
	m.stack, m.marks, m.memo = nil, nil, map[int]any{}
	at := 0
	data = data[:min(len(data), maxPickle)]
	for range maxOps {
		if at >= len(data) {
			return nil, 0, errors.New("pickle: it ends without STOP")
		}
		op := data[at]
		arg := known[op]
		if arg == nil {
			return nil, 0, fmt.Errorf("pickle: opcode 0x%02x at byte %d is not allowed", op, at)
		}
		body, n, err := arg.body(data[at+1:])
		if err == nil && op == '.' {
			if v, err = m.pop(); err == nil {
				return v, at + 1, nil
			}
		}
		if err == nil && op == 0x95 {
			if frame := binary.LittleEndian.Uint64(body); frame > uint64(len(data)-at-1-n) {
				err = fmt.Errorf("frame of %d bytes, have %d", frame, len(data)-at-1-n)
			}
		}
		if err == nil {
			err = m.step(op, body)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("pickle: opcode 0x%02x at byte %d: %w", op, at, err)
		}
		at += 1 + n
	}
	return nil, 0, fmt.Errorf("pickle: more than %d opcodes", maxOps)
}

func (m *Machine) push(v any) error {
	m.stack = append(m.stack, v)
	if len(m.stack) > m.high {
		m.high = len(m.stack)
		return m.Budget.Take(slotBytes)
	}
	return nil
}

// made pushes a new value that takes so many bytes.
func (m *Machine) made(v any, bytes int) error {
	if err := m.Budget.Take(bytes); err != nil {
		return err
	}
	return m.push(v)
}

var (
	errEmpty = errors.New("the stack is empty")
	errMark  = errors.New("no mark is open")
)

func (m *Machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *Machine) top() (any, error) {
	if len(m.stack) <= m.floor() {
		return nil, errEmpty
	}
	return m.stack[len(m.stack)-1], nil
}

func (m *Machine) pop() (any, error) {
	v, err := m.top()
	if err == nil {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return v, err
}

// marked takes what was pushed since the last mark. The values stay valid until the next push.
func (m *Machine) marked() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, errMark
	}
	at := m.floor()
	items := m.stack[at:]
	m.stack, m.marks = m.stack[:at], m.marks[:len(m.marks)-1]
	return items, nil
}

// last takes the n topmost values. They stay valid until the next push.
func (m *Machine) last(n int) ([]any, error) {
	if len(m.stack)-m.floor() < n {
		return nil, errEmpty
	}
	items := m.stack[len(m.stack)-n:]
	m.stack = m.stack[:len(m.stack)-n]
	return items, nil
}

func (m *Machine) sequence(items []any, err error, list bool) error {
	if err != nil {
		return err
	}
	if err := m.Budget.Take(containerBytes + slotBytes*len(items)); err != nil {
		return err
	}
	if own := append([]any(nil), items...); list {
		return m.push(&List{own})
	} else {
		return m.push(&Tuple{own})
	}
}

func (m *Machine) step(op byte, body []byte) error {
	switch op {
	case 0x80:
		if body[0] > 5 {
			return fmt.Errorf("protocol: have %d, want at most 5", body[0])
		}
	case 0x95: // a frame is no more than a hint
	case '(':
		if len(m.marks) >= maxMarks {
			return fmt.Errorf("more than %d marks are open", maxMarks)
		}
		m.marks = append(m.marks, len(m.stack))
	case '0':
		if len(m.marks) > 0 && len(m.stack) == m.floor() {
			m.marks = m.marks[:len(m.marks)-1]
			return nil
		}
		_, err := m.pop()
		return err
	case '1':
		_, err := m.marked()
		return err
	case '2':
		v, err := m.top()
		if err != nil {
			return err
		}
		return m.push(v)
	case '}':
		return m.made(&Dict{}, containerBytes)
	case ']':
		return m.made(&List{}, containerBytes)
	case 0x8f:
		return m.made(&Set{}, containerBytes)
	case ')':
		return m.made(&Tuple{}, containerBytes)
	case 0x85, 0x86, 0x87:
		items, err := m.last(int(op) - 0x84)
		return m.sequence(items, err, false)
	case 't', 'l':
		items, err := m.marked()
		return m.sequence(items, err, op == 'l')
	case 0x91:
		if _, err := m.marked(); err != nil {
			return err
		}
		return m.made(&Set{}, containerBytes)
	case 'd':
		items, err := m.marked()
		if err != nil {
			return err
		}
		d := &Dict{}
		if err := m.fill(d, items, containerBytes); err != nil {
			return err
		}
		return m.push(d)
	case 's', 'u', 'a', 'e', 0x90:
		return m.grow(op)
	case 'q', 'r', 'p', 0x94, 'h', 'j', 'g':
		return m.memory(op, body)
	case 'c', 0x93, 'R', 'o', 'i', 0x81, 0x92, 'b', 'P', 'Q':
		return m.named(op, body)
	default:
		v, bytes, err := literal(op, body)
		if err != nil {
			return err
		}
		return m.made(v, bytes)
	}
	return nil
}

// fill sets pairs of keys and values.
func (m *Machine) fill(d setter, items []any, bytes int) error {
	if len(items)%2 != 0 {
		return errors.New("a key without a value")
	}
	if err := m.Budget.Take(bytes + itemBytes*len(items)/2); err != nil {
		return err
	}
	for i := 0; i < len(items); i += 2 {
		d.Set(items[i], items[i+1])
	}
	return nil
}

// grow adds to the container below: SETITEM, SETITEMS, APPEND, APPENDS, ADDITEMS.
func (m *Machine) grow(op byte) error {
	var items []any
	var err error
	switch op {
	case 's':
		items, err = m.last(2)
	case 'a':
		items, err = m.last(1)
	default:
		items, err = m.marked()
	}
	if err != nil {
		return err
	}
	below, err := m.top()
	if err != nil {
		return err
	}
	if op == 's' || op == 'u' {
		if d, ok := below.(setter); ok {
			return m.fill(d, items, 0)
		}
		return errors.New("items of what is no dict")
	}
	if err := m.Budget.Take(slotBytes * len(items)); err != nil {
		return err
	}
	a, isList := below.(appender)
	s, isSet := below.(adder)
	for _, v := range items {
		switch {
		case op != 0x90 && isList:
			a.Append(v)
		case op == 0x90 && isSet:
			s.Add(v)
		default:
			return errors.New("elements of what is no list or set")
		}
	}
	return nil
}

// memory is PUT, MEMOIZE and GET in all their widths.
func (m *Machine) memory(op byte, body []byte) error {
	key := len(m.memo)
	if op != 0x94 {
		var err error
		if key, err = memoKey(op, body); err != nil {
			return err
		}
	}
	if op == 'h' || op == 'j' || op == 'g' {
		v, ok := m.memo[key]
		if !ok {
			return fmt.Errorf("memo entry %d was never written", key)
		}
		return m.push(v)
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	m.memo[key] = v
	return m.Budget.Take(memoBytes)
}

// named is what has a meaning outside of the pickle: names, calls, states, persistent ids.
func (m *Machine) named(op byte, body []byte) error {
	switch op {
	case 'c':
		return m.global(body)
	case 0x93:
		names, err := m.last(2)
		if err != nil {
			return err
		}
		module, ok1 := names[0].(string)
		name, ok2 := names[1].(string)
		if !ok1 || !ok2 {
			return errors.New("the name of a class is no text")
		}
		return m.made(m.Find(module, name), containerBytes+len(module)+len(name))
	case 'P':
		return m.persistent(string(body))
	case 'Q':
		id, err := m.pop()
		if err != nil {
			return err
		}
		return m.persistent(id)
	case 'b':
		state, err := m.pop()
		if err != nil {
			return err
		}
		v, err := m.top()
		if err != nil {
			return err
		}
		if s, ok := v.(stateful); ok {
			return s.SetState(state)
		}
		return errors.New("the state of what is no object")
	}
	return m.call(op, body)
}

func (m *Machine) global(names []byte) error {
	if !utf8.Valid(names) {
		return errors.New("the name of a class is not UTF-8")
	}
	module, name, _ := bytes.Cut(names, []byte("\n"))
	return m.made(m.Find(string(module), string(name)), containerBytes+len(names))
}

func (m *Machine) persistent(id any) error {
	v, err := m.Persistent(id)
	if err != nil {
		return err
	}
	return m.made(v, 2*containerBytes)
}

// call is REDUCE, NEWOBJ, NEWOBJ_EX, OBJ and INST.
func (m *Machine) call(op byte, body []byte) error {
	var function any
	var args []any
	switch op {
	case 'R', 0x81, 0x92:
		n := 2
		if op == 0x92 {
			n = 3
		}
		items, err := m.last(n)
		if err != nil {
			return err
		}
		t, ok := items[1].(*Tuple)
		if !ok {
			return errors.New("arguments that are no tuple")
		}
		function, args = items[0], t.Items
	default:
		items, err := m.marked()
		if err != nil {
			return err
		}
		args = append(args, items...)
		if op == 'i' {
			if err := m.global(body); err != nil {
				return err
			}
			if function, err = m.pop(); err != nil {
				return err
			}
		} else if len(args) == 0 {
			return errors.New("a call of nothing")
		} else {
			function, args = args[0], args[1:]
		}
		if err := m.Budget.Take(slotBytes * len(items)); err != nil {
			return err
		}
	}
	c, ok := function.(callable)
	if !ok {
		return errors.New("a call of what is no function")
	}
	v, err := c.Call(args)
	if err != nil {
		return err
	}
	own := 2 * containerBytes
	if s, ok := v.(sized); ok {
		own += s.Memory()
	}
	return m.made(v, own)
}
