// Package onnxpb is ONNX's file format: the messages generated from onnx.proto, a reader whose tensors are slices of the
// mapped file, and a writer that streams.
package onnxpb
