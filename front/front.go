// Package front orders what may become INT8 by what it costs and what it saves, and says what a search for the fastest model that holds has seen.
package front

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/golden/stats"
)

// A Group is layers that become INT8 together: those of a convolution stage, or of one kind in neighbouring blocks.
type Group struct {
	Name    string   `json:"group"`
	Layers  []string `json:"layers"`   // keys of a quantization plan, in graph order
	Float   float64  `json:"float_ms"` // latency of its nodes, alone
	Int8    float64  `json:"int8_ms"`
	Noise   float64  `json:"signal_to_noise_db"` // of the worst output, with this group alone in INT8
	Slow    bool     `json:"stays_float,omitempty"`
	modules []string // whose nodes are the group's alone
}

// saved is the latency that a group saves, in ms.
func (g *Group) saved() float64 { return g.Float - g.Int8 }

// quarters is into how many groups of neighbours the layers of one kind are divided that repeat in blocks.
const quarters = 4

// Groups divides layers, keys of a plan in graph order. A layer is MODULE/Operator, with #n behind where a module has several. What stands
// in numbered blocks and is a matrix product goes with the same layer of the neighbouring blocks; convolutions go with their stage, the module above the first
// number in the path.
func Groups(layers []string) []*Group {
	type place struct {
		role  string
		block int
	}
	places, blocks, inBlock := map[string]place{}, map[string]int{}, map[string]int{}
	for _, key := range layers {
		module, op := split(key)
		above, block, below := block(module)
		if block < 0 || !strings.HasPrefix(op, "MatMul") {
			continue
		}
		in := above + "." + strconv.Itoa(block) + "." + below
		inBlock[in]++
		places[key] = place{above + ".*." + below + "#" + strconv.Itoa(inBlock[in]), block}
		blocks[above] = max(blocks[above], block+1)
	}
	var list []*Group
	at := map[string]*Group{}
	put := func(name, key string, modules ...string) {
		if at[name] == nil {
			at[name] = &Group{Name: name}
			list = append(list, at[name])
		}
		at[name].Layers, at[name].modules = append(at[name].Layers, key), append(at[name].modules, modules...)
	}
	owners := map[string]int{}
	for _, key := range layers {
		module, _ := split(key)
		owners[module]++
	}
	for _, key := range layers {
		module, _ := split(key)
		p, repeated := places[key]
		if !repeated {
			put(stage(module), key, stage(module))
			continue
		}
		above, _, _ := block(module)
		part := p.block * quarters / blocks[above]
		first, last := (part*blocks[above]+quarters-1)/quarters, ((part+1)*blocks[above]+quarters-1)/quarters-1
		name := strings.Replace(p.role, "*", span(first, last), 1)
		if owners[module] == 1 {
			name = strings.TrimSuffix(name, "#1")
			put(name, key, module)
			continue
		}
		put(name, key)
	}
	return list
}

func span(first, last int) string {
	if first == last {
		return strconv.Itoa(first)
	}
	return strconv.Itoa(first) + "-" + strconv.Itoa(last)
}

func split(key string) (module, op string) {
	at := strings.LastIndex(key, "/")
	return key[:max(at, 0)], key[at+1:]
}

// block is where a module's path has its first number: what is above it, the number, what is below; -1 where it has none.
func block(module string) (above string, n int, below string) {
	parts := strings.Split(module, ".")
	for i, p := range parts {
		if n, err := strconv.Atoi(p); err == nil && n >= 0 {
			return strings.Join(parts[:i], "."), n, strings.Join(parts[i+1:], ".")
		}
	}
	return module, -1, ""
}

// stage is the module that a convolution belongs to: its path up to the first part with a digit in it, which it keeps when that is not a number alone.
func stage(module string) string {
	parts := strings.Split(module, ".")
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err == nil && i > 0 {
			return strings.Join(parts[:i], ".")
		}
		if strings.ContainsAny(p, "0123456789") {
			return strings.Join(parts[:i+1], ".")
		}
	}
	return module
}

// Time gives groups the times of the nodes of a model in float and of one in INT8 (by name, ms). Names are those of the values that nodes compute: with
// "[pass]" behind, or what an engine appends. A node is of the group that has its layer, or alone has its module; the rest is nobody's.
// What all groups save is then made to be what the whole model saves.
func Time(groups []*Group, float, int8 map[string]float64, saved float64) {
	layers, modules := map[string]*Group{}, map[string]*Group{}
	for _, g := range groups {
		for _, key := range g.Layers {
			layers[strings.Replace(key, "#", "_", 1)] = g
		}
		for _, m := range g.modules {
			modules[m] = g
		}
	}
	owner := func(node string) *Group {
		node, _, _ = strings.Cut(node, "[")
		if g := layers[node]; g != nil {
			return g
		}
		module, _ := split(node)
		for ; module != ""; module = module[:max(strings.LastIndex(module, "."), 0)] {
			if g := modules[module]; g != nil {
				return g
			}
		}
		return nil
	}
	for name, ms := range float {
		if g := owner(name); g != nil {
			g.Float += ms
		}
	}
	for name, ms := range int8 {
		if g := owner(name); g != nil {
			g.Int8 += ms
		}
	}
	sum := 0.0
	for _, g := range groups {
		sum += g.saved()
	}
	if sum > 0 && saved > 0 { // what no group has, such as conversions between them, goes to all alike
		for _, g := range groups {
			g.Int8 = g.Float - g.saved()*saved/sum
		}
	}
}

// most bounds the steps of a path.
const most = 17

// Path orders groups from the first that should become INT8 to the last: by the noise power that a group adds for the time that it saves. What saves
// nothing is left out, and marked. Measured times differ from run to run, so figures within a fifth are taken as equal, in graph order. Steps of least
// saving are joined to their neighbour until there are at most 17.
func Path(groups []*Group) (steps [][]*Group) {
	class := func(g *Group) float64 { return math.Round(4 * (-g.Noise/10*math.Log2(10) - math.Log2(g.saved()))) }
	for _, g := range groups {
		if g.Slow = !(g.saved() > 0); !g.Slow {
			steps = append(steps, []*Group{g})
		}
	}
	slices.SortStableFunc(steps, func(a, b []*Group) int { return cmp.Compare(class(a[0]), class(b[0])) })
	return join(steps)
}

func join(steps [][]*Group) [][]*Group {
	for len(steps) > most {
		saved := func(i int) float64 { return Saved(steps[i]) + Saved(steps[i+1]) }
		least := 0
		for i := range len(steps) - 1 {
			if saved(i) < saved(least) {
				least = i
			}
		}
		steps[least] = append(steps[least], steps[least+1]...)
		steps = slices.Delete(steps, least+1, least+2)
	}
	return steps
}

// A Front is what a search has seen, as a manifest keeps it. Latencies are of the graph that reads the image, one image at a time.
type Front struct {
	Graph    string   `json:"graph"`
	Engine   string   `json:"engine"`
	Threads  int      `json:"threads"`
	Clock    string   `json:"clock"` // processor: time that the process computed; wall: time that passed
	Judged   string   `json:"judged_by"`
	Margin   float64  `json:"margin_points"`
	Attempts int      `json:"attempts"`
	Seconds  float64  `json:"seconds"`
	Points   []*Point `json:"points"` // from float to the most INT8, then float16, then what was found and a later step
	Groups   []*Group `json:"sensitivity"`
	Note     string   `json:"note,omitempty"` // why nothing faster was taken
}

// A Point is one model of the front.
type Point struct {
	Groups    []*Group `json:"-"` // in INT8
	Steps     int      `json:"-"` // of the path that were added, from the first on
	Precision string   `json:"precision"`
	Adds      string   `json:"becomes_int8,omitempty"` // beyond the point before it, or beyond what was found
	Layers    int      `json:"int8_layers"`
	Latency   float64  `json:"latency_ms"` // measured, or predicted from the times of nodes
	Ratio     float64  `json:"latency_of_float"`
	Predicted bool     `json:"predicted"`
	Rounding  string   `json:"rounding,omitempty"`
	// Delta is the mean change of DSC in the mode where it is lowest, with its 95 % interval; none where the golden results were not tried.
	Delta    *float64        `json:"delta_points,omitempty"`
	Low      *float64        `json:"ci95_low,omitempty"`
	High     *float64        `json:"ci95_high,omitempty"`
	Mode     string          `json:"mode,omitempty"`
	Decision string          `json:"decision"`
	Chosen   bool            `json:"chosen,omitempty"`
	Modes    map[string]Mode `json:"modes,omitempty"`
}

// Untried is the decision of a point that was not held against the golden results.
const Untried = "not tried"

// Mode is how one prompt mode came out.
type Mode struct {
	Mean     stats.Number     `json:"mean_points"`
	CI95     *[2]stats.Number `json:"ci95_points,omitempty"`
	Decision string           `json:"decision"`
	Needed   int              `json:"needed_items,omitempty"`
}

// Saved is the latency that groups save, in ms.
func Saved(groups []*Group) (sum float64) {
	for _, g := range groups {
		sum += g.saved()
	}
	return sum
}

// With is the point that has a step of the path in INT8, too; its latency is predicted, float is the float model's.
func (p *Point) With(step []*Group, float float64) *Point {
	next := &Point{Precision: "int8", Groups: slices.Concat(p.Groups, step), Steps: p.Steps + 1, Latency: p.Latency - Saved(step), Layers: p.Layers, Decision: Untried, Predicted: true}
	next.Ratio = next.Latency / float
	var names []string
	for _, g := range step {
		next.Layers += len(g.Layers)
		names = append(names, g.Name)
	}
	next.Adds = strings.Join(names, ", ")
	return next
}

// Tried reports whether a point of the same groups was tried.
func (f *Front) Tried(p *Point) bool {
	return slices.ContainsFunc(f.Points, func(q *Point) bool {
		return q.Decision != Untried && len(q.Groups) == len(p.Groups) && !slices.ContainsFunc(p.Groups, func(g *Group) bool { return !slices.Contains(q.Groups, g) })
	})
}

// Words say what a point is.
func (p *Point) Words() string {
	if p.Precision != "int8" {
		return p.Precision
	}
	return "int8 in " + strconv.Itoa(p.Layers) + " layers, rounded " + p.Rounding
}

// Found says how a point that was tried came out.
func (p *Point) Found() string {
	line := fmt.Sprintf("%+.3f points", *p.Delta)
	if p.Low != nil {
		line += fmt.Sprintf(" (%+.3f to %+.3f)", *p.Low, *p.High)
	}
	line += ", " + strings.ReplaceAll(p.Decision, "_", " ")
	if p.Decision == string(stats.Undecided) {
		if n := p.needed(); n > 0 {
			line += fmt.Sprintf(": not enough data (needs about %d items)", n)
		}
	}
	return line
}

// needed is about how many items would decide all modes; 0 where nobody knows.
func (p *Point) needed() (n int) {
	for _, m := range p.Modes {
		n = max(n, m.Needed)
	}
	return n
}

// Short says in a line why nothing faster than what was chosen was taken, where that is for want of data; "" where it is not.
func (f *Front) Short(chosen *Point) string {
	line := ""
	least := 0
	for _, p := range f.Points {
		if p.Predicted || p.Ratio >= chosen.Ratio || p.Decision != string(stats.Undecided) {
			continue
		}
		line = "what is faster could not be decided: not enough data"
		if n := p.needed(); n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	if least > 0 {
		line += fmt.Sprintf(" (needs about %d items)", least)
	}
	return line
}

// Middle is the point in the middle of the widest gap between points that were tried, by latency; -1 where all were tried.
func Middle(points []*Point) int {
	best, widest := -1, -1.0
	for at := 0; at < len(points); at++ {
		if points[at].Decision != Untried {
			continue
		}
		end := at
		for end < len(points) && points[end].Decision == Untried {
			end++
		}
		from, to := points[max(at-1, 0)].Latency, points[min(end, len(points)-1)].Latency
		if gap := math.Abs(from - to); gap > widest {
			best, widest = (at+end-1)/2, gap
		}
		at = end
	}
	return best
}
