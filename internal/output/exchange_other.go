//go:build !linux

package output

func exchange(a, b string) (can bool, err error) { return false, nil }

func moveNew(a, b string) (can bool, err error) { return false, nil }
