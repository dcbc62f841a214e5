// Package browser looks at reports in a real browser: it has a module of its own, so that the program needs none of what drives it.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// most is the bar of a page's size, paint of its first paint, both of the issue that asked for the page.
const (
	most  = 8_000_000
	paint = time.Second
)

// What a page did that it should not have done.
type faults struct {
	sync.Mutex
	list []string
}

func (f *faults) add(format string, args ...any) {
	f.Lock()
	defer f.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

// pages are the reports to look at: folders of verify --html.
func pages(t *testing.T) []string {
	t.Helper()
	list := filepath.SplitList(os.Getenv("REPORT_PAGES"))
	if len(list) == 0 {
		t.Fatal("REPORT_PAGES: empty, want folders of verify --html")
	}
	return list
}

func open(t *testing.T, folder string) (context.Context, *faults) {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 900))
	if path := os.Getenv("CHROMIUM"); path != "" {
		options = append(options, chromedp.ExecPath(path))
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, close := chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf)) // of events that are newer than the library
	t.Cleanup(close)
	ctx, end := context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(end)
	file, err := filepath.Abs(filepath.Join(folder, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("%s: have %d bytes, want at most %d", file, info.Size(), most)
	}
	own, f := "file://"+filepath.ToSlash(file), &faults{}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			f.add("console.%s", e.Type)
		case *runtime.EventExceptionThrown:
			f.add("exception: %s", e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			f.add("log: %s: %s", e.Entry.Level, e.Entry.Text)
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; strings.SplitN(u, "#", 2)[0] != own && !strings.HasPrefix(u, "data:") {
				f.add("request: %s", u)
			}
		}
	})
	run(t, ctx, network.Enable(), log.Enable(), runtime.Enable(), chromedp.Navigate(own))
	return ctx, f
}

func run(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// ask evaluates an expression.
func ask[T any](t *testing.T, ctx context.Context, expression string) (out T) {
	t.Helper()
	run(t, ctx, chromedp.Evaluate(expression, &out))
	return out
}

func expect[T comparable](t *testing.T, what string, have, want T) {
	t.Helper()
	if have != want {
		t.Errorf("%s: have %v, want %v", what, have, want)
	}
}

func TestPages(t *testing.T) {
	for _, folder := range pages(t) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			ctx, f := open(t, folder)
			paints(t, ctx)
			content(t, ctx, folder)
			sorts(t, ctx)
			filters(t, ctx)
			opens(t, ctx)
			accessible(t, ctx)
			axe(t, ctx)
			if shots := os.Getenv("REPORT_SHOTS"); shots != "" {
				screenshots(t, ctx, filepath.Join(shots, filepath.Base(folder)))
			}
			for _, x := range f.list {
				t.Error(x)
			}
		})
	}
}

// paints holds the first paint against its bar.
func paints(t *testing.T, ctx context.Context) {
	var ms float64
	await := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
	run(t, ctx, chromedp.Evaluate(`new Promise((done) => { const look = () => { const e = performance.getEntriesByName('first-contentful-paint')[0]; e ? done(e.startTime) : setTimeout(look, 20); }; look(); })`, &ms, await))
	t.Logf("first paint after %.0f ms", ms)
	if time.Duration(ms*1e6) > paint {
		t.Errorf("first paint after %.0f ms, want at most %v", ms, paint)
	}
}

// content holds the page against the report as JSON, where that lies beside its folder.
func content(t *testing.T, ctx context.Context, folder string) {
	text, err := os.ReadFile(folder + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Family string
		Items  []struct {
			Mask string
			Have float64
		}
		Artifact struct{ SHA256 string }
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	expect(t, "rows", ask[int](t, ctx, `document.querySelectorAll('#all tbody tr').length`), len(r.Items))
	all := ask[string](t, ctx, `document.body.innerText`)
	for _, want := range []string{r.Family, r.Artifact.SHA256, r.Items[0].Mask} {
		if !strings.Contains(all, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// sorts sorts every table by every column, with the keyboard.
func sorts(t *testing.T, ctx context.Context) {
	for table := range ask[int](t, ctx, `document.querySelectorAll('table.sortable').length`) {
		at := fmt.Sprintf(`document.querySelectorAll('table.sortable')[%d]`, table)
		for column := range ask[int](t, ctx, at+`.tHead.rows[0].cells.length`) {
			if !ask[bool](t, ctx, fmt.Sprintf(`getComputedStyle(%s.tHead.rows[0].cells[%d]).display !== 'none'`, at, column)) {
				continue
			}
			for _, want := range []string{"ascending", "descending"} {
				run(t, ctx, chromedp.Evaluate(fmt.Sprintf(`%s.tHead.rows[0].cells[%d].querySelector('button').focus()`, at, column), nil), chromedp.KeyEvent(kb.Enter))
				expect(t, "aria-sort", ask[string](t, ctx, fmt.Sprintf(`%s.tHead.rows[0].cells[%d].getAttribute('aria-sort')`, at, column)), want)
				cells := ask[[]string](t, ctx, fmt.Sprintf(`[...%s.tBodies[0].rows].map((r) => r.cells[%d].textContent.trim())`, at, column))
				ordered(t, fmt.Sprintf("table %d column %d %s", table, column, want), cells, want == "descending")
			}
		}
	}
}

// ordered checks numbers; text is in an order of its own.
func ordered(t *testing.T, what string, cells []string, down bool) {
	t.Helper()
	last := math.Inf(-1)
	for i, c := range cells {
		var v float64
		if c == "–" {
			for _, rest := range cells[i:] {
				expect(t, what+": what is undefined comes last", rest, "–")
			}
			return
		}
		if n, err := fmt.Sscanf(strings.Replace(c, "−", "-", 1), "%g", &v); n != 1 || err != nil {
			return
		}
		if down {
			v = -v
		}
		if v < last {
			t.Errorf("%s: row %d is out of order: %s", what, i, c)
			return
		}
		last = v
	}
}

// filters types into the filter and chooses from the lists.
func filters(t *testing.T, ctx context.Context) {
	visible := `[...document.querySelectorAll('#all tbody tr')].filter((r) => !r.hidden)`
	all := ask[int](t, ctx, visible+`.length`)
	name := ask[string](t, ctx, `document.querySelector('#all tbody tr th').textContent`)
	run(t, ctx, chromedp.Focus("#filter", chromedp.ByQuery), chromedp.KeyEvent(strings.ToUpper(name)))
	n := ask[int](t, ctx, visible+`.length`)
	if n == 0 || n >= all {
		t.Errorf("filter %s: have %d of %d rows", name, n, all)
	}
	for _, row := range ask[[]string](t, ctx, visible+`.map((r) => r.cells[0].textContent)`) {
		if !strings.Contains(row, name) {
			t.Errorf("filter %s: shows %s", name, row)
		}
	}
	expect(t, "count", ask[string](t, ctx, `document.querySelector('#shown').textContent`), fmt.Sprintf("%d of %d", n, all))
	run(t, ctx, chromedp.Evaluate(`document.querySelector('#filter').select()`, nil), chromedp.KeyEvent(kb.Delete))
	modes := ask[[]string](t, ctx, `[...document.querySelectorAll('#mode option')].map((o) => o.value)`)
	last := modes[len(modes)-1]
	run(t, ctx, chromedp.Focus("#mode", chromedp.ByQuery), chromedp.KeyEvent(kb.End))
	for _, mode := range ask[[]string](t, ctx, visible+`.map((r) => r.cells[1].textContent)`) {
		expect(t, "filter by prompts", mode, last)
	}
	run(t, ctx, chromedp.KeyEvent(kb.Home), chromedp.Focus("#flag", chromedp.ByQuery), chromedp.KeyEvent(kb.End))
	expect(t, "unstable items", ask[int](t, ctx, visible+`.length`), ask[int](t, ctx, `document.querySelectorAll('#all tr.unstable').length`))
	run(t, ctx, chromedp.KeyEvent(kb.Home))
	expect(t, "rows without a filter", ask[int](t, ctx, visible+`.length`), all)
}

// opens looks at items with the keyboard alone.
func opens(t *testing.T, ctx context.Context) {
	title, open := `document.querySelector('#v-title').textContent`, `document.querySelector('#viewer').open`
	run(t, ctx, chromedp.Evaluate(`document.querySelector('#all tbody button[data-d]').focus()`, nil), chromedp.KeyEvent(kb.Enter))
	expect(t, "viewer is open", ask[bool](t, ctx, open), true)
	first := ask[string](t, ctx, title)
	expect(t, "picture loads", ask[bool](t, ctx, `document.querySelector('#v-figure image').getAttribute('href').startsWith('data:image/jpeg;base64,')`), true)
	layers := ask[int](t, ctx, `document.querySelectorAll('#v-figure path:not(.under)').length`)
	if layers < 2 {
		t.Errorf("have %d lines, want truth and prediction at least", layers)
	}
	run(t, ctx, chromedp.KeyEvent(kb.ArrowRight))
	second := ask[string](t, ctx, title)
	if second == first {
		t.Errorf("the arrow key shows nothing else than %s", first)
	}
	run(t, ctx, chromedp.KeyEvent(kb.ArrowLeft))
	expect(t, "back", ask[string](t, ctx, title), first)
	run(t, ctx, chromedp.Evaluate(`document.querySelector('[data-l=t]').focus()`, nil), chromedp.KeyEvent(" "))
	expect(t, "truth is hidden", ask[int](t, ctx, `document.querySelectorAll('#v-figure path.t').length`), 0)
	run(t, ctx, chromedp.KeyEvent(" "))
	run(t, ctx, chromedp.Evaluate(`document.querySelector('#v-whole').focus()`, nil), chromedp.KeyEvent(" "))
	expect(t, "whole image", ask[bool](t, ctx, `document.querySelector('#v-figure svg').getAttribute('viewBox').startsWith('0 0 ')`), true)
	run(t, ctx, chromedp.KeyEvent(" "), chromedp.KeyEvent(kb.Escape))
	expect(t, "viewer is open", ask[bool](t, ctx, open), false)
}

// accessible asks what a reader with a keyboard, a screen reader or weak eyes needs.
func accessible(t *testing.T, ctx context.Context) {
	for what, bad := range map[string]string{
		"elements without a name":     `[...document.querySelectorAll('button, input, select, svg, dialog, section, [role=group]')].filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent.trim() || document.getElementById(e.getAttribute('aria-labelledby'))?.isConnected))`,
		"ids that are there twice":    `[...document.querySelectorAll('[id]')].filter((e) => document.querySelectorAll('#' + CSS.escape(e.id)).length > 1)`,
		"what scrolls without a key":  `[...document.querySelectorAll('.scroll')].filter((e) => e.tabIndex !== 0)`,
		"tables without caption":      `[...document.querySelectorAll('table')].filter((e) => !e.caption)`,
		"head cells without scope":    `[...document.querySelectorAll('th')].filter((e) => !e.scope)`,
		"headings that skip a level":  `[...document.querySelectorAll('main h1, main h3')].filter((e) => e.tagName === 'H1' || !e.closest('section').querySelector('h2'))`,
		"pictures without an outline": `[...document.querySelectorAll('figure svg')].filter((e) => e.getAttribute('role') !== 'img')`,
	} {
		if list := ask[[]string](t, ctx, `(`+bad+`).map((e) => e.outerHTML.slice(0, 120))`); len(list) > 0 {
			t.Errorf("%s: %d: %s", what, len(list), list[0])
		}
	}
	expect(t, "language", ask[string](t, ctx, `document.documentElement.lang`), "en")
	for _, scheme := range []string{"light", "dark"} {
		run(t, ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
		for _, bad := range ask[[]string](t, ctx, contrast) {
			t.Errorf("%s: contrast: %s", scheme, bad)
		}
	}
	run(t, ctx, emulation.SetEmulatedMedia())
	run(t, ctx, chromedp.Evaluate(`document.body.tabIndex = -1; document.body.focus()`, nil), chromedp.KeyEvent(kb.Tab))
	expect(t, "the first key leads to the items", ask[string](t, ctx, `document.activeElement.className`), "skip")
	if n := ask[string](t, ctx, `getComputedStyle(document.activeElement).outlineStyle`); n == "none" {
		t.Error("focus cannot be seen")
	}
}

// axe asks Deque's axe-core, in light and dark, of the page and of an open item.
func axe(t *testing.T, ctx context.Context) {
	engine, err := os.ReadFile(os.Getenv("AXE"))
	if err != nil {
		t.Fatalf("AXE: %v; want axe-core's axe.min.js", err)
	}
	await := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
	look := func(what string) {
		var bad []string
		run(t, ctx, chromedp.Evaluate(`axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.map((v) => v.id + ' (' + v.impact + '): ' + v.nodes.length + ' places, ' + v.nodes[0].html.slice(0, 150) + ' ' + v.nodes[0].failureSummary))`, &bad, await))
		for _, b := range bad {
			t.Errorf("%s: axe: %s", what, b)
		}
	}
	run(t, ctx, chromedp.Evaluate(string(engine)+"; true", nil))
	for _, scheme := range []string{"light", "dark"} {
		run(t, ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
		look(scheme)
	}
	run(t, ctx, chromedp.Evaluate(`document.querySelector('.item button').click()`, nil))
	look("an open item")
	run(t, ctx, chromedp.KeyEvent(kb.Escape), emulation.SetEmulatedMedia())
}

// contrast lists text below WCAG 2's 4.5 to 1 against what lies behind it.
const contrast = `(() => {
 const rgb = (s) => { const v = s.match(/[\d.]+/g).map(Number); return s.startsWith('color(srgb') ? [255 * v[0], 255 * v[1], 255 * v[2], v[3] ?? 1] : [v[0], v[1], v[2], v[3] ?? 1]; };
 const light = (c) => { const f = (x) => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]); };
 const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] > 0.9) return c; } return [255, 255, 255, 1]; };
 const out = new Set();
 for (const e of document.querySelectorAll('body *')) {
  if (!e.checkVisibility() || ['SCRIPT', 'STYLE', 'OPTION'].includes(e.tagName) || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
  const style = getComputedStyle(e), a = light(rgb(e instanceof SVGElement ? style.fill : style.color)), b = light(behind(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) out.add(e.tagName + '.' + (e.getAttribute('class') || '') + ' ' + e.textContent.trim().slice(0, 30) + ' ' + ratio.toFixed(2));
 }
 return [...out].slice(0, 20);
})()`

// screenshots are for people to look at: light, dark, a phone, an open item, and the page as it is printed.
func screenshots(t *testing.T, ctx context.Context, to string) {
	save := func(name string, b []byte) {
		if err := os.WriteFile(to+"-"+name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shot := func(name string, w, h int64, scheme string, first ...chromedp.Action) {
		var b []byte
		run(t, ctx, append([]chromedp.Action{emulation.SetDeviceMetricsOverride(w, h, 1, false), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}})}, first...)...)
		run(t, ctx, chromedp.FullScreenshot(&b, 90))
		save(name+".jpg", b)
	}
	shot("light", 1280, 900, "light")
	shot("dark", 1280, 900, "dark")
	shot("phone", 390, 844, "light")
	if wide := ask[int](t, ctx, `document.documentElement.scrollWidth`); wide > 390 {
		t.Errorf("on a phone the page is %d pixels wide, want 390", wide)
	}
	open := chromedp.Evaluate(`document.querySelector('.item button').click()`, nil)
	var b []byte
	run(t, ctx, emulation.SetDeviceMetricsOverride(1280, 900, 1, false), open, chromedp.CaptureScreenshot(&b))
	save("item.png", b)
	run(t, ctx, emulation.SetDeviceMetricsOverride(390, 844, 1, false), chromedp.CaptureScreenshot(&b))
	save("item-phone.png", b)
	run(t, ctx, chromedp.KeyEvent(kb.Escape), emulation.ClearDeviceMetricsOverride(), chromedp.ActionFunc(func(ctx context.Context) error {
		var err error
		b, _, err = page.PrintToPDF().WithPrintBackground(false).WithPreferCSSPageSize(true).Do(ctx)
		return err
	}))
	save("print.pdf", b)
}
