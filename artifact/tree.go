package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// HashTree is the SHA-256 of a file, or of a folder (a series) that of the lines "HASH  NAME" of its files; links count by what they mean. seen, if any,
// is told of each file.
func HashTree(path string, seen func(fs.FileInfo)) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		if seen != nil {
			seen(info)
		}
		sum, _, err := Hash(path)
		return sum, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	all := sha256.New()
	for _, e := range entries {
		at := filepath.Join(path, e.Name())
		if info, err := os.Stat(at); err != nil || info.IsDir() {
			continue
		}
		sum, err := HashTree(at, seen)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(all, "%s  %s\n", sum, e.Name())
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}
