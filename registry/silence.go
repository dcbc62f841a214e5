package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// silence is how long a registry may send and take nothing: what moves, however slowly, goes on. A registry that has taken a large file hashes it before it
// answers.
var silence = 3 * time.Minute

// impatient ends requests that have stood still for so long.
type impatient struct{ base http.RoundTripper }

// RoundTrip is base's, of a request that is given up when nothing moves: neither its body, nor the answer's beginning, nor, later, the answer's body.
func (p impatient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{ctx: ctx, cancel: cancel, limit: silence, silent: fmt.Errorf("%s: nothing was sent or taken for %s; the connection, a proxy or the registry stands still: try again", req.URL.Host, silence)}
	w.timer = time.AfterFunc(w.limit, func() { cancel(w.silent) })
	out := req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = sending{req.Body, w}
	}
	if body := req.GetBody; body != nil {
		out.GetBody = func() (io.ReadCloser, error) {
			b, err := body()
			return sending{b, w}, err
		}
	}
	answer, err := p.base.RoundTrip(out)
	w.timer.Stop()
	if err != nil {
		err = w.reason(err)
		cancel(nil)
		return nil, err
	}
	answer.Body = receiving{answer.Body, w}
	return answer, nil
}

// A watch cancels a request when its timer ends.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
	silent error
}

// reason is why a request failed: an error that is its end, or the silence before it.
func (w *watch) reason(err error) error {
	if err != nil && context.Cause(w.ctx) == w.silent {
		return w.silent
	}
	return err
}

// sending is a request's body: each time that more of it is wanted, something has moved.
type sending struct {
	io.ReadCloser
	*watch
}

func (s sending) Read(p []byte) (int, error) {
	if s.ctx.Err() == nil {
		s.timer.Reset(s.limit)
	}
	return s.ReadCloser.Read(p)
}

// receiving is an answer's body. Time counts while somebody waits for more of it.
type receiving struct {
	io.ReadCloser
	*watch
}

func (r receiving) Read(p []byte) (int, error) {
	r.timer.Reset(r.limit)
	n, err := r.ReadCloser.Read(p)
	r.timer.Stop()
	if err == io.EOF {
		return n, err
	}
	return n, r.reason(err)
}

func (r receiving) Close() error {
	r.timer.Stop()
	err := r.ReadCloser.Close()
	r.cancel(nil)
	return err
}
