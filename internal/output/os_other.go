//go:build !unix

package output

import (
	"io/fs"
	"os"
)

func tryLock(*os.File) attempt { return unable }

func openPipe(path string) (*os.File, error) { return os.OpenFile(path, os.O_WRONLY, 0) }

func planted(string, fs.FileInfo) bool { return false }

func device(fs.FileInfo) uint64 { return 0 }
