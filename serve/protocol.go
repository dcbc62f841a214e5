package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// headerLength is the header that tells how many bytes of a body are JSON; the tensors' bytes lie behind them.
const headerLength = "Inference-Header-Content-Length"

// Version is the one version that every model has.
const Version = "1"

// An Error is one with a status of HTTP.
type Error struct {
	Status int
	error
}

func (e *Error) Unwrap() error { return e.error }

func refuse(status int, format string, args ...any) error {
	return &Error{status, fmt.Errorf(format, args...)}
}

func bad(format string, args ...any) error { return refuse(http.StatusBadRequest, format, args...) }

// A request of an inference. Names are the protocol's.
type request struct {
	ID         string `json:"id"`
	Parameters struct {
		Binary bool `json:"binary_data_output"`
	} `json:"parameters"`
	Inputs []struct {
		Name       string  `json:"name"`
		Datatype   string  `json:"datatype"`
		Shape      []int64 `json:"shape"`
		Parameters struct {
			Size   *int64  `json:"binary_data_size"`
			Shared *string `json:"shared_memory_region"`
		} `json:"parameters"`
		Data json.RawMessage `json:"data"`
	} `json:"inputs"`
	Outputs []struct {
		Name       string `json:"name"`
		Parameters struct {
			Binary  *bool   `json:"binary_data"`
			Shared  *string `json:"shared_memory_region"`
			Classes int64   `json:"classification"`
		} `json:"parameters"`
	} `json:"outputs"`
}

// most inputs or outputs that a request may name.
const mostTensors = 64

// parse reads a body, of which the header says how much is JSON.
func parse(body []byte, header string) (*request, map[string]*Value, error) {
	text, rest := body, []byte(nil)
	if header != "" {
		n, err := strconv.Atoi(header)
		if err != nil || n < 0 || n > len(body) {
			return nil, nil, bad("%s: have %q, want at most the body's %d bytes", headerLength, header, len(body))
		}
		text, rest = body[:n], body[n:]
	}
	r := &request{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, nil, bad("request: not the JSON of an inference: %w", err)
	}
	if len(r.Inputs) == 0 || len(r.Inputs) > mostTensors || len(r.Outputs) > mostTensors {
		return nil, nil, bad("request: have %d inputs and %d outputs, want 1 to %d inputs", len(r.Inputs), len(r.Outputs), mostTensors)
	}
	values := map[string]*Value{}
	for i, in := range r.Inputs {
		var v *Value
		var err error
		size := in.Parameters.Size
		switch {
		case in.Name == "":
			return nil, nil, bad("inputs: element %d has no name", i)
		case values[in.Name] != nil:
			return nil, nil, bad("input %q: it is there twice", in.Name)
		case in.Parameters.Shared != nil:
			err = fmt.Errorf("shared memory is not supported: send the data")
		case in.Shape == nil:
			err = fmt.Errorf("shape: it is missing")
		case len(in.Shape) > 16 || slices.Min(append([]int64{0}, in.Shape...)) < 0:
			err = fmt.Errorf("shape: have %v, want sizes of 0 or more", in.Shape)
		case size != nil && in.Data != nil:
			err = fmt.Errorf("have data and binary_data_size, want one of them")
		case size != nil && (*size < 0 || *size > int64(len(rest))):
			err = fmt.Errorf("binary_data_size: have %d, want at most the %d bytes that are left behind the JSON", *size, len(rest))
		case size != nil:
			v, err = fromBinary(in.Datatype, in.Shape, rest[:*size:*size])
			rest = rest[*size:]
		default:
			v, err = fromJSON(in.Datatype, in.Shape, in.Data)
		}
		if err != nil {
			return nil, nil, bad("input %q: %w", in.Name, err)
		}
		values[in.Name] = v
	}
	if len(rest) > 0 {
		return nil, nil, bad("request: %d bytes are left behind the last input", len(rest))
	}
	return r, values, nil
}

// wanted are the outputs that a request asks for, all where it names none, and which of them it wants in binary.
func (r *request) wanted(all []Spec) (names []string, inBinary map[string]bool, err error) {
	inBinary = map[string]bool{}
	for _, o := range r.Outputs {
		switch {
		case !slices.ContainsFunc(all, func(s Spec) bool { return s.Name == o.Name }):
			return nil, nil, bad("output %q: there is none, want one of %s", o.Name, namesOf(all))
		case slices.Contains(names, o.Name):
			return nil, nil, bad("output %q: it is there twice", o.Name)
		case o.Parameters.Shared != nil:
			return nil, nil, bad("output %q: shared memory is not supported", o.Name)
		case o.Parameters.Classes != 0:
			return nil, nil, bad("output %q: classification is not supported", o.Name)
		}
		names = append(names, o.Name)
		inBinary[o.Name] = r.Parameters.Binary
		if o.Parameters.Binary != nil {
			inBinary[o.Name] = *o.Parameters.Binary
		}
	}
	if len(r.Outputs) == 0 {
		for _, s := range all {
			names = append(names, s.Name)
			inBinary[s.Name] = r.Parameters.Binary
		}
	}
	return names, inBinary, nil
}

// An answer to an inference: JSON, and the bytes of tensors that lie behind it.
type answer struct {
	json   []byte
	binary [][]byte
}

// size is the number of bytes of all of it.
func (a *answer) size() (n int) {
	n = len(a.json)
	for _, b := range a.binary {
		n += len(b)
	}
	return n
}

type outputHead struct {
	Name       string         `json:"name"`
	Datatype   string         `json:"datatype"`
	Shape      []int64        `json:"shape"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Data       any            `json:"data,omitempty"`
}

// respond writes what a model gave.
func respond(model string, r *request, names []string, inBinary map[string]bool, out map[string]*Value, parameters map[string]any) (*answer, error) {
	a := &answer{}
	heads := []outputHead{}
	for _, name := range names {
		v := out[name]
		if v == nil {
			return nil, fmt.Errorf("output %q: the model did not give it", name)
		}
		h := outputHead{Name: name, Datatype: v.datatype(), Shape: v.Dims}
		if inBinary[name] {
			b := v.binaryBytes()
			h.Parameters = map[string]any{"binary_data_size": len(b)}
			a.binary = append(a.binary, b)
		} else {
			b, err := v.appendJSON(nil)
			if err != nil {
				return nil, bad("output %q: %w", name, err)
			}
			h.Data = json.RawMessage(b)
		}
		heads = append(heads, h)
	}
	var err error
	a.json, err = json.Marshal(struct {
		Model      string         `json:"model_name"`
		Version    string         `json:"model_version"`
		ID         string         `json:"id,omitempty"`
		Parameters map[string]any `json:"parameters,omitempty"`
		Outputs    []outputHead   `json:"outputs"`
	}{model, Version, r.ID, parameters, heads})
	return a, err
}
