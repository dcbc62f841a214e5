package signature

import (
	"crypto"
	"crypto/ecdsa"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"syncsam-convert/internal/mapfile"
)

// A private or public key is a small file.
const maxKey = 64 << 10

const (
	payloadType = "application/vnd.in-toto+json"
	// BundleType is the media type of a signed statement.
	BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

type bundle struct {
	MediaType string   `json:"mediaType"`
	Material  material `json:"verificationMaterial"`
	Envelope  envelope `json:"dsseEnvelope"`
}

type material struct {
	PublicKey *publicKey        `json:"publicKey,omitempty"`
	Entries   []json.RawMessage `json:"tlogEntries"`
}

type publicKey struct {
	Hint string `json:"hint"`
}

type envelope struct {
	Payload     string      `json:"payload"`
	PayloadType string      `json:"payloadType"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	Sig   string `json:"sig"`
	KeyID string `json:"keyid"`
}

// A Signer holds a private key.
type Signer struct{ key *ecdsa.PrivateKey }

// NewSigner reads a private key for statements other than a folder's.
func NewSigner(keyFile string) (*Signer, error) { return readPrivate(keyFile) }

// Envelop signs an in-toto statement; the same key and statement give the same bytes.
func (k *Signer) Envelop(payload []byte) ([]byte, error) { return k.envelop(payload) }

// CheckPublic wants a file that holds a public key.
func CheckPublic(keyFile string) error {
	_, err := readPublic(keyFile)
	return err
}

// Open gives the statement of a bundle whose signature a public key's owner made; others are an ErrInvalid.
func Open(bundle []byte, keyFile string) ([]byte, error) { return open(bundle, keyFile) }

func (k *Signer) envelop(payload []byte) ([]byte, error) {
	h, err := hashOf(&k.key.PublicKey)
	if err != nil {
		return nil, err
	}
	sig, err := k.key.Sign(nil, digest(h, payload), h) // without a source of chance the signature is made by RFC 6979
	if err != nil {
		return nil, err
	}
	hint, err := fingerprint(&k.key.PublicKey)
	if err != nil {
		return nil, err
	}
	return json.Marshal(bundle{BundleType, material{&publicKey{hint}, []json.RawMessage{}},
		envelope{base64.StdEncoding.EncodeToString(payload), payloadType, []signature{{base64.StdEncoding.EncodeToString(sig), ""}}}})
}

// digest is what is signed of a payload: its hash in DSSE's pre-authentication encoding.
func digest(h crypto.Hash, payload []byte) []byte {
	sum := h.New()
	fmt.Fprintf(sum, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload))
	sum.Write(payload)
	return sum.Sum(nil)
}

// open gives the payload of a bundle. With a key its signature holds.
func open(text []byte, keyFile string) ([]byte, error) {
	var key *ecdsa.PublicKey
	if keyFile != "" {
		var err error
		if key, err = readPublic(keyFile); err != nil {
			return nil, err
		}
	}
	var b bundle
	if err := exact(text, &b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if b.MediaType != BundleType || b.Envelope.PayloadType != payloadType || len(b.Envelope.Signatures) != 1 || len(b.Material.Entries) != 0 || b.Envelope.Signatures[0].KeyID != "" {
		return nil, fmt.Errorf("%w: have %q of %q with %d signatures, want %q of %q with one by a key", ErrInvalid, b.MediaType, b.Envelope.PayloadType, len(b.Envelope.Signatures), BundleType, payloadType)
	}
	payload, err := base64.StdEncoding.Strict().DecodeString(b.Envelope.Payload)
	if err != nil {
		return nil, fmt.Errorf("%w: payload: %w", ErrInvalid, err)
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(b.Envelope.Signatures[0].Sig)
	if err != nil {
		return nil, fmt.Errorf("%w: sig: %w", ErrInvalid, err)
	}
	if key == nil {
		return payload, nil
	}
	hint, err := fingerprint(key)
	if err != nil {
		return nil, err
	}
	if b.Material.PublicKey == nil || b.Material.PublicKey.Hint != hint {
		return nil, fmt.Errorf("%w: it was made with another key than that in %s", ErrInvalid, keyFile)
	}
	h, err := hashOf(key)
	if err != nil {
		return nil, err
	}
	if !ecdsa.VerifyASN1(key, digest(h, payload), sig) {
		return nil, fmt.Errorf("%w: the key in %s did not make it", ErrInvalid, keyFile)
	}
	return payload, nil
}

// fingerprint names a public key: the hash of its PEM text.
func fingerprint(key *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	h := crypto.SHA256.New()
	h.Write(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashOf is the hash that goes with a key's curve.
func hashOf(key *ecdsa.PublicKey) (crypto.Hash, error) {
	switch key.Curve.Params().Name {
	case "P-256":
		return crypto.SHA256, nil
	case "P-384":
		return crypto.SHA384, nil
	case "P-521":
		return crypto.SHA512, nil
	}
	return 0, fmt.Errorf("have a key of curve %s, want P-256, P-384 or P-521", key.Curve.Params().Name)
}

// block is the first block of a PEM file that is none of parameters. No error says what the file holds.
func block(file string) (*pem.Block, error) {
	if strings.Contains(file, "-----") || strings.ContainsAny(file, "\r\n") { // which no log should get to see
		return nil, errors.New("--key: have the text of a key, want the path of its file (the text stays out of arguments; a file of mode 600 holds it)")
	}
	text, err := mapfile.ReadAll(file, maxKey)
	if err != nil {
		return nil, err
	}
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return nil, fmt.Errorf("%s: no PEM file of a key", file)
		}
		if b.Type != "EC PARAMETERS" {
			return b, nil
		}
	}
}

func readPrivate(file string) (*Signer, error) {
	b, err := block(file)
	if err != nil {
		return nil, err
	}
	var key any
	switch b.Type {
	case "EC PRIVATE KEY":
		if b.Headers["Proc-Type"] != "" {
			return nil, fmt.Errorf("%s: the key is encrypted, want one that is not (openssl pkey -in %s -out PLAIN.pem)", file, file)
		}
		key, err = x509.ParseECPrivateKey(b.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, fmt.Errorf("%s: the key is encrypted, want one that is not (openssl pkey -in %s -out PLAIN.pem)", file, file)
	default:
		return nil, fmt.Errorf("%s: have a %q, want a private key", file, b.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: it cannot be read as a private key", file)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: have a %T, want an elliptic key (openssl ecparam -name prime256v1 -genkey -noout)", file, key)
	}
	if _, err := hashOf(&ec.PublicKey); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &Signer{ec}, nil
}

func readPublic(file string) (*ecdsa.PublicKey, error) {
	b, err := block(file)
	if err != nil {
		return nil, err
	}
	if b.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("%s: have a %q, want a public key (openssl ec -in KEY.pem -pubout)", file, b.Type)
	}
	key, err := x509.ParsePKIXPublicKey(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: it cannot be read as a public key", file)
	}
	ec, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s: have a %T, want an elliptic key", file, key)
	}
	_, err = hashOf(ec)
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return ec, err
}
