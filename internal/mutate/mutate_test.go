package mutate

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/internal/onnxpb"
)

// Whatever a file holds, damaging it gives a file, the same one for the same numbers, and leaves the good one.
func TestSameNumbersSameFile(t *testing.T) {
	kinds := map[string]Func{"bytes": Bytes, "zip": Zip, "gzip": Gzip(Bytes), "pickle": Pickle, "legacy": Legacy, "array": Array, "png": PNG, "json": JSON, "text": Text,
		"safetensors": Safetensors, "onnx": Message(&onnxpb.ModelProto{}), "tiff": TIFF, "jpeg": JPEG, "records": Records(352), "dicom": DICOM}
	files := []string{"../../frontends/checkpoint/testdata/bare.pth", "../../frontends/checkpoint/testdata/legacy.pth", "../../frontends/checkpoint/testdata/plain.safetensors",
		"../../frontends/onnx/testdata/others/dynamo.onnx", "../../golden/data/dataset/label2image_test.json", "../../pictures/testdata/rgb.png", "../../pictures/testdata/kinds/planar.tif",
		"../../pictures/testdata/kinds/420.jpg", "../../pictures/testdata/kinds/two.nii.gz", "../../pictures/testdata/dicom/rle.dcm"}
	for name, damage := range kinds {
		changed := 0
		for _, path := range files {
			good, err := os.ReadFile(path)
			require.NoError(t, err)
			was := bytes.Clone(good)
			for seed := range uint64(40) {
				one := damage(rand.New(rand.NewPCG(1, seed)), good)
				require.Equal(t, was, good, "%s of %s", name, path)
				require.True(t, bytes.Equal(one, damage(rand.New(rand.NewPCG(1, seed)), good)), "%s of %s", name, path)
				if !bytes.Equal(one, good) {
					changed++
				}
			}
		}
		require.Greater(t, changed, 150, name)
	}
	for _, b := range [][]byte{nil, {0}, []byte("PK"), bytes.Repeat([]byte{0xff}, 200)} {
		for _, damage := range kinds {
			for seed := range uint64(20) {
				damage(rand.New(rand.NewPCG(1, seed)), b)
			}
		}
	}
}

// What is made of structure keeps it: most of the damaged JSON is JSON, most pickles can be split as before.
func TestStructureStays(t *testing.T) {
	text, err := os.ReadFile("../../golden/data/dataset/label2image_test.json")
	require.NoError(t, err)
	valid := 0
	for seed := range uint64(100) {
		if json.Valid(JSON(rand.New(rand.NewPCG(2, seed)), text)) {
			valid++
		}
	}
	require.Greater(t, valid, 50)
	require.Less(t, valid, 100)
}
