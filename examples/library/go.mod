module example.test/library

go 1.26.8

require syncsam-convert v0.0.0

require (
	github.com/yalue/onnxruntime_go v1.35.0 // indirect
	golang.org/x/image v0.47.0 // indirect
	golang.org/x/sync v0.25.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	gonum.org/v1/gonum v0.17.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace syncsam-convert => ../..
