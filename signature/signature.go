// Package signature signs a folder and checks its signature in OpenSSF Model Signing's format, version 1: a list of files with their hashes as an
// in-toto statement, in a DSSE envelope, in a Sigstore bundle, in the file model.sig of the folder. Keys are elliptic (P-256, P-384, P-521), in PEM files.
package signature

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/output"
)

// ErrInvalid says that a signature, or a file that it is over, does not hold.
var ErrInvalid = errors.New("it is not what was built or signed")

// The names that the format fixes.
const (
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://model_signing/signature/v1.0"
	method        = "files"
	hashType      = "sha256"
	maxSignature  = 16 << 20
)

type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     predicate `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type predicate struct {
	Resources     []resource    `json:"resources"`
	Serialization serialization `json:"serialization"`
}

type resource struct {
	Algorithm string `json:"algorithm"`
	Digest    string `json:"digest"`
	Name      string `json:"name"`
}

type serialization struct {
	AllowSymlinks bool     `json:"allow_symlinks"`
	HashType      string   `json:"hash_type"`
	IgnorePaths   []string `json:"ignore_paths"`
	Method        string   `json:"method"`
}

// Sign writes the signature of every file of an artifact into its folder, and gives its path. keyFile holds the private key. A signature that is there
// is replaced; an artifact whose files are not as its manifest says is refused.
func Sign(dir, keyFile string) (string, error) {
	key, err := readPrivate(keyFile)
	if err != nil {
		return "", err
	}
	if _, err := artifact.Check(dir, true); err != nil {
		return "", err
	}
	sums, err := files(dir, []string{artifact.Signature})
	if err != nil {
		return "", err
	}
	at, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	s := statement{Type: statementType, PredicateType: predicateType, Predicate: predicate{Resources: []resource{},
		Serialization: serialization{HashType: hashType, IgnorePaths: []string{artifact.Signature}, Method: method}}}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		s.Predicate.Resources = append(s.Predicate.Resources, resource{hashType, sums[name], name})
	}
	root, err := s.root()
	if err != nil {
		return "", err
	}
	s.Subject = []subject{{filepath.Base(at), map[string]string{hashType: root}}}
	payload, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	bundle, err := key.envelop(payload)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, artifact.Signature)
	return name, output.File(name, func(w io.Writer) error {
		_, err := w.Write(bundle)
		return err
	})
}

// root is the hash of the files' hashes, in their order.
func (s *statement) root() (string, error) {
	all := sha256.New()
	for _, r := range s.Predicate.Resources {
		sum, err := hex.DecodeString(r.Digest)
		if err != nil || len(sum) != sha256.Size {
			return "", fmt.Errorf("resources: %s: have digest %q, want 64 hexadecimal digits", r.Name, r.Digest)
		}
		all.Write(sum)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

// Verify holds a folder against the signature in it. keyFile holds the public key; "" compares the hashes alone, whoever signed them. What does not
// hold is an ErrInvalid.
func Verify(dir, keyFile string) error {
	at := filepath.Join(dir, artifact.Signature)
	text, err := mapfile.ReadAll(at, maxSignature)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s: it is not there; sign makes it", ErrInvalid, at)
	}
	if err != nil {
		return err
	}
	payload, err := open(text, keyFile)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	var s statement
	if err := json.Unmarshal(payload, &s); err != nil {
		return fmt.Errorf("%w: %s: payload: %w", ErrInvalid, at, err)
	}
	if err := s.check(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, at, err)
	}
	return s.holds(dir)
}

// Check holds an artifact's files against its manifest and its signature. Without a public key the signature may be absent, and its hashes alone are
// compared. It gives the files' names, and what is known of the signature. What does not hold is an ErrInvalid.
func Check(dir, keyFile string, allowUnlisted bool) (names []string, signed string, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, "", err
	}
	if keyFile != "" { // which are the caller's faults
		if err := CheckPublic(keyFile); err != nil {
			return nil, "", err
		}
	}
	signed = "none"
	if _, err := os.Lstat(filepath.Join(dir, artifact.Signature)); err == nil || keyFile != "" {
		if err := Verify(dir, keyFile); err != nil {
			return nil, "", err
		}
		signed = "by the key"
		if keyFile == "" {
			signed = "its hashes hold; whose it is was not checked (--key)"
		}
	}
	if names, err = artifact.Check(dir, allowUnlisted); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return names, signed, nil
}

// check wants a statement of the kind that this package understands, whole in itself.
func (s *statement) check() error {
	how := s.Predicate.Serialization
	switch {
	case s.Type != statementType || s.PredicateType != predicateType:
		return fmt.Errorf("have a statement %q of %q, want %q of %q", s.Type, s.PredicateType, statementType, predicateType)
	case len(s.Subject) != 1:
		return fmt.Errorf("subject: have %d, want 1", len(s.Subject))
	case how.Method != method || how.HashType != hashType:
		return fmt.Errorf("serialization: have method %q with %q, want %q with %q", how.Method, how.HashType, method, hashType)
	}
	root, err := s.root()
	if err == nil && root != s.Subject[0].Digest[hashType] {
		err = fmt.Errorf("subject: have digest %q, want %s as its files have", s.Subject[0].Digest[hashType], root)
	}
	return err
}

// holds compares a folder with the list: every file has its hash, and there are no others.
func (s *statement) holds(dir string) error {
	sums, err := files(dir, append(s.Predicate.Serialization.IgnorePaths, artifact.Signature))
	if err != nil {
		return err
	}
	for _, r := range s.Predicate.Resources {
		at := filepath.Join(dir, filepath.FromSlash(r.Name))
		switch have, there := sums[r.Name]; {
		case r.Algorithm != hashType:
			return fmt.Errorf("%w: %s: have algorithm %q, want %q", ErrInvalid, r.Name, r.Algorithm, hashType)
		case !there:
			return fmt.Errorf("%w: %s: it is signed and not there", ErrInvalid, at)
		case have != r.Digest:
			return fmt.Errorf("%w: %s: have sha256 %s, want %s as signed", ErrInvalid, at, have, r.Digest)
		}
		delete(sums, r.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		return fmt.Errorf("%w: %s: it is not signed", ErrInvalid, filepath.Join(dir, filepath.FromSlash(name)))
	}
	return nil
}

// files are the hashes of a folder's files by their names in it, but those at or below some paths. Links and special files are errors.
func files(dir string, but []string) (map[string]string, error) {
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, at)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		switch {
		case slices.ContainsFunc(but, func(b string) bool { b = path.Clean(b); return name == b || strings.HasPrefix(name, b+"/") }):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%w: %s: have a %s, want a file of the folder", ErrInvalid, at, kind(d.Type()))
		}
		sums[name], _, err = artifact.Hash(at)
		return err
	})
	if err == nil && len(sums) == 0 {
		err = fmt.Errorf("%s: it has no files", dir)
	}
	return sums, err
}

func kind(m os.FileMode) string {
	if m&os.ModeSymlink != 0 {
		return "link"
	}
	return "special file"
}

// exact decodes JSON into a value that has exactly its fields: none is unknown, spelled in another way, or there twice, and nothing follows.
func exact(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	again, err := json.Marshal(to)
	if err != nil {
		return err
	}
	have, err := names(text)
	if err != nil {
		return err
	}
	want, err := names(again)
	if err != nil {
		return err
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			return fmt.Errorf("%q: no field of that name", name)
		}
	}
	if doubled := slices.Compact(slices.Sorted(slices.Values(have))); len(doubled) != len(have) {
		return errors.New("a field is there twice")
	}
	if d.More() {
		return errors.New("something follows its end")
	}
	return nil
}

// names are the strings of a JSON text that name fields; the formats of this package use no name in two places.
func names(text []byte) ([]string, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	var found []string
	var inside []bool // object or list
	key := false
	for {
		t, err := d.Token()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			inside = append(inside, t == json.Delim('{'))
			key = t == json.Delim('{')
			continue
		case json.Delim('}'), json.Delim(']'):
			inside = inside[:len(inside)-1]
		default:
			if s, ok := t.(string); ok && key {
				found, key = append(found, s), false
				continue
			}
		}
		key = len(inside) > 0 && inside[len(inside)-1]
	}
}
