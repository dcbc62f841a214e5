package serve

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"net/http"
	"net/url"
	"strconv"

	"syncsam-convert/pictures"
	"syncsam-convert/serve/page"
)

// pictureHeader tells, beside a picture, what was understood of its file.
const pictureHeader = "Picture"

// pageHandlers answer the page, and what it asks for beside inferences.
func (s *Server) pageHandlers(mux *http.ServeMux) {
	mux.Handle("GET /{$}", s.answer(func(w http.ResponseWriter, _ *http.Request) error {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", page.Policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		_, err := w.Write(page.HTML)
		return err
	}))
	mux.Handle("GET /page/artifacts", s.answer(func(w http.ResponseWriter, _ *http.Request) error {
		type info struct {
			Name      string `json:"name"`
			Family    string `json:"family"`
			Precision string `json:"precision"`
			Size      int64  `json:"size"`
			Engine    string `json:"engine"`
			Segment   string `json:"segment"`
		}
		all := []info{}
		for _, a := range s.artifacts {
			all = append(all, info{a.Name, a.Manifest.Family, a.Manifest.Precision, a.Manifest.Preprocess.Size, s.o.Engine, a.Segment})
		}
		return writeJSON(w, http.StatusOK, all)
	}))
	mux.Handle("POST /page/picture", s.answer(func(w http.ResponseWriter, r *http.Request) error {
		body, release, err := s.take(r)
		if err != nil {
			return err
		}
		defer release()
		name, used, err := s.files.put(body)
		if err != nil {
			return err
		}
		defer used()
		return s.show(w, r, name)
	}))
	mux.Handle("GET /page/picture/{id}", s.answer(func(w http.ResponseWriter, r *http.Request) error {
		name := r.PathValue("id")
		used, ok := s.files.use(name)
		if !ok {
			return refuse(http.StatusNotFound, "the picture is not here any more: open it again")
		}
		defer used()
		return s.show(w, r, name)
	}))
}

// A shown picture is what pictureHeader tells: the file's id for later, how many slices it has, and which is shown.
type shown struct {
	ID     string         `json:"id"`
	Slices int            `json:"slices"`
	Part   string         `json:"part"`
	Facts  pictures.Facts `json:"facts"`
}

// show gives a picture of a stored file as PNG, or, where mask=1 asks for it, a mask; of several slices the middle one unless part says which.
func (s *Server) show(w http.ResponseWriter, r *http.Request, name string) error {
	done, err := s.turn(r.Context())
	if err != nil {
		return err
	}
	defer done()
	asked := r.URL.Query()
	part, err := partOf(asked.Get("part"))
	if err != nil {
		return bad("%w", err)
	}
	path := s.files.path(name)
	tell := shown{ID: name}
	volumes := 1
	if tell.Slices, volumes, err = pictures.Extent(path); err != nil {
		return bad("%w", s.files.nameless(err))
	}
	if part.Slice == nil && tell.Slices > 1 {
		middle := tell.Slices / 2
		part.Slice = &middle
	}
	if part.Volume == nil && volumes > 1 {
		part.Volume = new(int)
	}
	var picture image.Image
	if asked.Get("mask") == "1" {
		var m *pictures.Mask
		if m, tell.Facts, err = pictures.LookMask(part.Name(path)); err == nil {
			picture = m.Picture()
		}
	} else {
		var m *pictures.Image
		if m, tell.Facts, err = pictures.Look(part.Name(path)); err == nil {
			picture = m.Picture()
		}
	}
	if err != nil {
		return bad("%w", s.files.nameless(err))
	}
	tell.Part = part.Name("")
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, picture); err != nil {
		return err
	}
	text, err := json.Marshal(tell)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set(pictureHeader, url.PathEscape(string(text)))
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	_, err = w.Write(b.Bytes())
	return err
}
