package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// doctor says what is there, in both forms; an engine that must work and does not is an error of one line behind it.
func TestDoctor(t *testing.T) {
	require.Regexp(t, `(?m)^engine go +\d`, must(t, "doctor"))
	valid(t, "doctor", must(t, "doctor", "--json"))
	r := command("doctor", "--engine", "go,onnxruntime", "--onnxruntime-lib", picture, "--json")
	require.Equal(t, 2, r.code)
	require.Regexp(t, `^syncsam-convert: engine onnxruntime: [^\n]+\n$`, r.err)
	valid(t, "doctor", r.out)
	refused(t, `engine: have "tflite", want one of go`, "doctor", "--engine", "tflite")
	refused(t, "have 1 arguments, want none", "doctor", "x")
}
