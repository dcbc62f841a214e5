package engine

import (
	"fmt"
	"os"
	"path/filepath"
)

// LibraryVariable names the environment variable that says where ONNX Runtime's shared library is.
const LibraryVariable = "ONNXRUNTIME_LIB"

// LibraryFolder is where `make onnxruntime` puts the library, relative to the project.
const LibraryFolder = "build/onnxruntime"

// FindLibrary gives the path of ONNX Runtime's shared library: the given one, the environment's, or the one that
// `make onnxruntime` left beside the program's project or in a folder above the working directory.
func FindLibrary(given string) (string, error) {
	if given == "" {
		given = os.Getenv(LibraryVariable)
	}
	if given != "" {
		if _, err := os.Stat(given); err != nil {
			return "", fmt.Errorf("engine onnxruntime: %w", err)
		}
		return given, nil
	}
	var roots []string
	if exe, err := os.Executable(); err == nil {
		roots = append(roots, filepath.Dir(filepath.Dir(exe)))
	}
	if dir, err := os.Getwd(); err == nil {
		for ; ; dir = filepath.Dir(dir) {
			roots = append(roots, dir)
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, root := range roots {
		for _, pattern := range []string{"libonnxruntime.so*", "libonnxruntime*.dylib", "onnxruntime.dll"} {
			if found, _ := filepath.Glob(filepath.Join(root, LibraryFolder, pattern)); len(found) > 0 {
				return found[0], nil
			}
		}
	}
	return "", fmt.Errorf("engine onnxruntime: its shared library is not there: run make onnxruntime, set %s, or give --onnxruntime-lib", LibraryVariable)
}

func libraryORT(o Options) string {
	path, _ := FindLibrary(o.Library)
	return path
}
