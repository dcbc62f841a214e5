// Package browser tries the page in a real browser. It is a module of its own: the driver is needed here alone.
package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// What the test gets from make test-page: the program, two artifacts, a picture with its mask, a volume, and a folder for screenshots.
func setting(t *testing.T, name string) string {
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set; make test-page sets it", name)
	}
	return v
}

// serving starts the program and gives the page's address.
func serving(t *testing.T, dirs ...string) string {
	cmd := exec.Command(setting(t, "PROGRAM"), append([]string{"serve", "--listen", "127.0.0.1:0"}, dirs...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line[strings.LastIndex(line, "http://"):])
}

type browser struct {
	*testing.T
	context.Context
	requests map[string]bool // hosts that the page asked
}

func open(t *testing.T, url string, width, height int64, scale float64, phone, dark bool) *browser {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	b := &browser{t, ctx, map[string]bool{}}
	chromedp.ListenTarget(ctx, func(e any) {
		switch e := e.(type) {
		case *network.EventRequestWillBeSent:
			if host, ok := strings.CutPrefix(e.Request.URL, "http"); ok {
				b.requests[strings.Split(host, "/")[2]] = true
			}
		}
	})
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.do(emulation.SetDeviceMetricsOverride(width, height, scale, phone), emulation.SetTouchEmulationEnabled(phone),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		network.Enable(), chromedp.Navigate(url))
	b.until("typeof state === 'object' && state.views.length > 0")
	return b
}

func (b *browser) do(actions ...chromedp.Action) {
	b.Helper()
	if err := chromedp.Run(b.Context, actions...); err != nil {
		b.Fatal(err)
	}
}

func (b *browser) get(script string, to any) {
	b.Helper()
	b.do(chromedp.Evaluate(script, to))
}

// until waits for what a script says.
func (b *browser) until(script string) {
	b.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var ok bool
		b.get("!!("+script+")", &ok)
		if ok {
			return
		}
		if time.Now().After(end) {
			var status string
			b.get(`$("status").textContent`, &status)
			b.Fatalf("%s: not within a minute; the page says %q", script, status)
		}
	}
}

func (b *browser) load(picture string) {
	b.Helper()
	b.do(chromedp.SetUploadFiles("#open", []string{picture}, chromedp.ByQuery))
	b.until(`$("status").textContent.startsWith("Ready")`)
}

const settled = `!document.body.classList.contains("busy") && state.views.every(v => v.result)`

// at gives where on the page a pixel of the picture is, of the view's canvas.
func (b *browser) at(view int, x, y float64) (px, py float64) {
	b.Helper()
	var r [4]float64
	b.get(fmt.Sprintf("(r => [r.left, r.top, r.width / state.bitmap.width, r.height / state.bitmap.height])(state.views[%d].canvas.getBoundingClientRect())", view), &r)
	return r[0] + x*r[2], r[1] + y*r[3]
}

func (b *browser) click(view int, x, y float64, o ...chromedp.MouseOption) {
	b.Helper()
	px, py := b.at(view, x, y)
	b.do(chromedp.MouseClickXY(px, py, o...))
	b.until(settled)
}

func (b *browser) mask(view int) (w, h int, pix []byte) {
	b.Helper()
	var r struct {
		W, H int
		Data string
	}
	b.get(fmt.Sprintf(`(r => ({W: r.w, H: r.h, Data: btoa(Array.from(r.mask, x => String.fromCharCode(x)).join(""))}))(state.views[%d].result)`, view), &r)
	pix, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		b.Fatal(err)
	}
	return r.W, r.H, pix
}

func (b *browser) prompt() []string {
	b.Helper()
	var command string
	b.get("command()", &command)
	return strings.Fields(strings.TrimPrefix(command, "run …"))
}

// asRun compares a view's mask with what the command run makes of the same prompt.
func (b *browser) asRun(view int, artifact, picture string) {
	b.Helper()
	out := filepath.Join(b.TempDir(), "mask.png")
	args := append([]string{"run", artifact, "--image", picture, "-o", out}, b.prompt()...)
	if text, err := exec.Command(setting(b.T, "PROGRAM"), args...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", args, text)
	}
	want := grey(b.T, out)
	w, h, pix := b.mask(view)
	if len(want) != w*h || !bytes.Equal(want, pix) {
		b.Fatalf("%v: the page's mask differs from run's", args)
	}
	if !bytes.Contains(pix, []byte{255}) || !bytes.Contains(pix, []byte{0}) {
		b.Fatalf("%v: the mask is empty or full, which shows nothing", args)
	}
	b.Logf("%s: the mask of %v is that of run, %d of %d pixels", filepath.Base(artifact), b.prompt(), bytes.Count(pix, []byte{255}), w*h)
}

func grey(t *testing.T, path string) (pix []byte) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			r, _, _, _ := m.At(x, y).RGBA()
			pix = append(pix, byte(r>>8))
		}
	}
	return pix
}

func (b *browser) shot(name string) {
	b.Helper()
	var picture []byte
	b.do(chromedp.FullScreenshot(&picture, 100))
	if err := os.WriteFile(filepath.Join(setting(b.T, "SHOTS"), name+".png"), picture, 0o644); err != nil {
		b.Fatal(err)
	}
}

func text(b *browser, script string) (s string) {
	b.Helper()
	b.get(script, &s)
	return s
}

func TestPage(t *testing.T) {
	a, int8, picture, truth := setting(t, "ARTIFACT"), setting(t, "INT8"), setting(t, "PICTURE"), setting(t, "TRUTH")
	url := serving(t, a, int8)

	t.Run("desktop", func(t *testing.T) {
		b := open(t, url, 1280, 900, 1, false, false)
		b.shot("empty")
		b.load(picture)
		b.click(0, 300.5, 215.5)
		b.asRun(0, a, picture)
		b.asRun(1, int8, picture)
		b.click(1, 200, 270, chromedp.ButtonRight) // a click in either view is one in both
		b.click(0, 320, 240, chromedp.ButtonModifiers(input.ModifierAlt))
		if p := strings.Join(b.prompt(), " "); strings.Count(p, ",0") < 2 {
			t.Fatalf("have %s, want two points outside", p)
		}
		b.asRun(0, a, picture)
		for range 2 {
			b.do(chromedp.KeyEvent("u"))
			b.until(settled)
		}
		b.asRun(0, a, picture)
		b.do(chromedp.KeyEvent("c"))
		b.until("state.views.every(v => !v.result)")

		x0, y0 := b.at(0, 286, 200)
		x1, y1 := b.at(0, 319, 233)
		b.do(chromedp.MouseEvent(input.MousePressed, x0, y0, chromedp.ButtonLeft, chromedp.ClickCount(1)), chromedp.MouseEvent(input.MouseMoved, (x0+x1)/2, (y0+y1)/2, chromedp.ButtonLeft),
			chromedp.MouseEvent(input.MouseMoved, x1, y1, chromedp.ButtonLeft), chromedp.MouseEvent(input.MouseReleased, x1, y1, chromedp.ButtonLeft, chromedp.ClickCount(1)))
		b.until(settled)
		if p := b.prompt(); p[0] != "--box" {
			t.Fatalf("have %v, want a box", p)
		}
		b.asRun(0, a, picture)
		b.asRun(1, int8, picture)

		b.do(chromedp.SetUploadFiles("#truthfile", []string{truth}, chromedp.ByQuery))
		b.until(`state.truth && state.views[0].cells.dsc.textContent !== "–"`)
		_, _, have := b.mask(0)
		both, sum := 0.0, 0.0
		for i, w := range grey(t, truth) {
			if w > 0 {
				sum++
			}
			if have[i] > 0 {
				sum++
			}
			if w > 0 && have[i] > 0 {
				both++
			}
		}
		if shown, want := text(b, "state.views[0].cells.dsc.textContent"), fmt.Sprintf("%.2f", 100*(2*both+1e-7)/(sum+1e-7)); shown != want {
			t.Fatalf("DSC: have %s, want %s", shown, want)
		}
		b.do(chromedp.Click("#other", chromedp.ByQuery))
		b.shot("light")
		b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}), chromedp.Sleep(100*time.Millisecond))
		b.shot("dark")
		b.hosts(url)
	})

	t.Run("phone", func(t *testing.T) {
		b := open(t, url, 390, 844, 2, true, true)
		b.load(picture)
		var wide bool
		b.get("document.documentElement.scrollWidth > innerWidth", &wide)
		if wide {
			t.Fatal("the page is wider than the phone")
		}
		px, py := b.at(0, 300.5, 215.5)
		b.do(input.DispatchTouchEvent(input.TouchStart, []*input.TouchPoint{{X: px, Y: py}}), input.DispatchTouchEvent(input.TouchEnd, []*input.TouchPoint{}))
		b.until(settled)
		b.asRun(0, a, picture)
		b.do(chromedp.Click("#back", chromedp.ByQuery))
		px, py = b.at(0, 200, 270)
		b.do(input.DispatchTouchEvent(input.TouchStart, []*input.TouchPoint{{X: px, Y: py}}), input.DispatchTouchEvent(input.TouchEnd, []*input.TouchPoint{}))
		b.until("state.steps.length === 2 && " + settled)
		if p := strings.Join(b.prompt(), " "); !strings.HasSuffix(p, ",0") {
			t.Fatalf("have %s, want a point outside", p)
		}
		b.do(chromedp.Click("#undo", chromedp.ByQuery))
		b.until("state.steps.length === 1 && " + settled)
		b.shot("phone")
		px, py = b.at(0, 256, 256)
		two := func(d float64) []*input.TouchPoint {
			return []*input.TouchPoint{{X: px - d, Y: py, ID: 1}, {X: px + d, Y: py, ID: 2}}
		}
		b.do(input.DispatchTouchEvent(input.TouchStart, two(20)), input.DispatchTouchEvent(input.TouchMove, two(30)), input.DispatchTouchEvent(input.TouchMove, two(60)), input.DispatchTouchEvent(input.TouchEnd, []*input.TouchPoint{}))
		b.until("state.zoom.k > 1.5 && state.steps.length === 1") // two fingers mark nothing
	})

	t.Run("keyboard", func(t *testing.T) {
		b := open(t, url, 1280, 900, 1, false, true)
		b.load(picture)
		b.do(chromedp.Focus("canvas", chromedp.ByQuery), chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowDown, chromedp.KeyModifiers(input.ModifierShift)), chromedp.KeyEvent(kb.Enter))
		b.until(settled)
		var size [2]float64
		b.get("[state.bitmap.width, state.bitmap.height]", &size)
		if p, want := strings.Join(b.prompt(), " "), fmt.Sprintf("--point %g,%g", math.Floor(size[0]/2)+1, math.Floor(size[1]/2)+10); p != want {
			t.Fatalf("have %s, want %s", p, want)
		}
		b.do(chromedp.KeyEvent("x"), chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.Enter))
		b.until("state.steps.length === 2 && " + settled)
		if p := strings.Join(b.prompt(), " "); !strings.HasSuffix(p, ",0") {
			t.Fatalf("have %s, want a point outside", p)
		}
	})

	t.Run("closer", func(t *testing.T) {
		b := open(t, url, 1280, 900, 1, false, true)
		b.load(picture)
		px, py := b.at(0, 300.5, 215.5)
		for range 8 {
			b.do(input.DispatchMouseEvent(input.MouseWheel, px, py).WithDeltaX(0).WithDeltaY(-100))
		}
		b.until("state.zoom.k > 6")
		b.do(chromedp.MouseClickXY(px, py))
		b.until("state.steps.length === 1 && " + settled)
		var x, y float64
		if _, err := fmt.Sscanf(b.prompt()[1], "%g,%g", &x, &y); err != nil || math.Hypot(x-300.5, y-215.5) > 1 { // what is under the mouse stays there
			t.Fatalf("have a click at %v, want 300.5,215.5", b.prompt())
		}
		b.asRun(0, a, picture)
		b.shot("closer")
		b.get("state.zoom.x", &x)
		b.do(chromedp.MouseEvent(input.MousePressed, px, py, chromedp.ButtonMiddle, chromedp.ClickCount(1)), chromedp.MouseEvent(input.MouseMoved, px-50, py, chromedp.ButtonMiddle),
			chromedp.MouseEvent(input.MouseReleased, px-50, py, chromedp.ButtonMiddle, chromedp.ClickCount(1)))
		b.until(fmt.Sprintf("state.zoom.x > %g && state.steps.length === 1", x))
		b.do(chromedp.KeyEvent("0"))
		b.until("state.zoom.k === 1 && $('whole').hidden")
	})

	t.Run("volume", func(t *testing.T) {
		volume := setting(t, "VOLUME")
		b := open(t, url, 1280, 900, 1, false, false)
		b.load(volume)
		slices := text(b, `$("slicenumber").textContent`)
		b.do(chromedp.KeyEvent("]"))
		b.until(`$("status").textContent.startsWith("Ready") && $("slicenumber").textContent !== "` + slices + `"`)
		var slice int
		var w, h float64
		b.get(`Number($("slice").value)`, &slice)
		b.get("state.bitmap.width", &w)
		b.get("state.bitmap.height", &h)
		b.click(0, w/2, h/2)
		b.asRun(0, a, fmt.Sprintf("%s#slice=%d", volume, slice))
		b.do(chromedp.SetValue("#low", "-200", chromedp.ByQuery), chromedp.SetValue("#high", "300", chromedp.ByQuery), chromedp.Evaluate(`$("high").onchange()`, nil))
		b.until(`state.picture.part.includes("window") && ` + settled)
		b.asRun(0, a, fmt.Sprintf("%s#slice=%d&window=-200:300", volume, slice))
		b.do(chromedp.SetUploadFiles("#truthfile", []string{filepath.Join(filepath.Dir(volume), "labels.nii.gz")}, chromedp.ByQuery))
		b.until(`state.truth && !$("labellabel").hidden`)
		var all, one int
		b.get("count(state.truth)", &all)
		b.do(chromedp.Evaluate(`$("label").value = "2"; $("label").onchange()`, nil))
		b.until("state.truth && state.truth.count === undefined")
		b.get("count(state.truth)", &one)
		if one < 1 || one >= all {
			t.Fatalf("label 2 has %d pixels of %d", one, all)
		}
		b.shot("volume")
	})

	t.Run("what is no picture", func(t *testing.T) {
		b := open(t, url, 1280, 900, 1, false, false)
		b.do(chromedp.SetUploadFiles("#open", []string{os.Args[0]}, chromedp.ByQuery))
		b.until(`$("status").classList.contains("bad")`)
		if s := text(b, `$("status").textContent`); !strings.Contains(s, "not a readable picture") || strings.Contains(s, os.TempDir()) {
			t.Fatalf("the page says %q", s)
		}
		b.shot("refused")
		b.load(picture) // and goes on
		b.click(0, 300.5, 215.5)
		b.asRun(0, a, picture)
	})

	t.Run("one artifact", func(t *testing.T) {
		b := open(t, serving(t, a), 1280, 900, 1, false, true)
		b.load(picture)
		b.click(0, 300.5, 215.5)
		b.asRun(0, a, picture)
		b.shot("one")
	})
}

// hosts wants the page to have asked its own server alone.
func (b *browser) hosts(url string) {
	b.Helper()
	own := strings.TrimPrefix(url, "http://")
	for host := range b.requests {
		if host != own {
			b.Fatalf("the page asked %s", host)
		}
	}
	if !b.requests[own] {
		b.Fatal("no request was seen")
	}
}
