module syncsam-convert/scale

go 1.26.8

require syncsam-convert v0.0.0

require github.com/apache/beam/sdks/v2 v2.77.0 // indirect

replace syncsam-convert => ../
