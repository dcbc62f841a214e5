//go:build cgo && !windows

package trthost

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

// trt_version gives getInferLibVersion() of a library, -1 when it cannot be loaded, -2 when it has no such function.
static int trt_version(const char *path, const char **problem) {
	void *lib = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
	if (!lib) { *problem = dlerror(); return -1; }
	int (*version)(void) = (int (*)(void))dlsym(lib, "getInferLibVersion");
	if (!version) { *problem = dlerror(); return -2; }
	return version();
}

// gpu asks CUDA's driver for its first device: 0, the driver's error code, or -1 when there is no driver.
static int gpu(char *name, int size, int *major, int *minor, int *driver) {
	void *lib = dlopen("libcuda.so.1", RTLD_LAZY);
	if (!lib) return -1;
	int (*init)(unsigned) = (int (*)(unsigned))dlsym(lib, "cuInit");
	int (*version)(int *) = (int (*)(int *))dlsym(lib, "cuDriverGetVersion");
	int (*device)(int *, int) = (int (*)(int *, int))dlsym(lib, "cuDeviceGet");
	int (*getname)(char *, int, int) = (int (*)(char *, int, int))dlsym(lib, "cuDeviceGetName");
	int (*attribute)(int *, int, int) = (int (*)(int *, int, int))dlsym(lib, "cuDeviceGetAttribute");
	if (!init || !version || !device || !getname || !attribute) return -1;
	int d = 0, rc = init(0);
	if (!rc) rc = version(driver);
	if (!rc) rc = device(&d, 0);
	if (!rc) rc = getname(name, size, d);
	if (!rc) rc = attribute(major, 75, d); // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
	if (!rc) rc = attribute(minor, 76, d); // and _MINOR
	return rc;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// errUnsupported is the error of programs that cannot load libraries.
var errUnsupported = errors.New("this program cannot load libraries")

func libraryVersion(path string) (int, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var problem *C.char
	n := C.trt_version(name, &problem)
	if n < 0 {
		return 0, fmt.Errorf("%s", C.GoString(problem))
	}
	return int(n), nil
}

// FindGPU describes the first GPU, or says that there is no driver or no device.
func FindGPU() (GPU, error) {
	name := make([]byte, 256)
	var major, minor, driver C.int
	switch rc := C.gpu((*C.char)(unsafe.Pointer(&name[0])), C.int(len(name)), &major, &minor, &driver); rc {
	case 0:
		return GPU{C.GoString((*C.char)(unsafe.Pointer(&name[0]))), fmt.Sprintf("%d.%d", major, minor), fmt.Sprintf("%d.%d", driver/1000, driver%1000/10)}, nil
	case -1:
		return GPU{}, errors.New("no CUDA driver (libcuda.so.1) on this machine")
	case 100:
		return GPU{}, errors.New("the CUDA driver finds no GPU")
	default:
		return GPU{}, fmt.Errorf("the CUDA driver gives error %d", rc)
	}
}
