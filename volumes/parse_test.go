package volumes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/prompt"
)

func TestWords(t *testing.T) {
	box := func(v ...float64) *[4]float64 { return (*[4]float64)(v) }
	for _, c := range []struct {
		w    Words
		want []Object
	}{
		{Words{Boxes: []string{"1,2, 3.5,4"}, Points: []string{"5,6", "7,8,0"}}, []Object{{Label: 1, Name: "object 1",
			Prompt: prompt.Prompt{Box: box(1, 2, 3.5, 4), Points: [][2]float64{{5, 6}, {7, 8}}, Labels: []int{1, 0}}}}},
		{Words{Boxes: []string{"1,2,3,4", "5,6,7,8"}}, []Object{{Label: 1, Name: "object 1", Prompt: prompt.Prompt{Box: box(1, 2, 3, 4)}}, {Label: 2, Name: "object 2", Prompt: prompt.Prompt{Box: box(5, 6, 7, 8)}}}},
		{Words{Groups: []string{"name=a+b&box=1,2,3,4&label=9", "point=5,6,0&point=5,7"}}, []Object{{Label: 9, Name: "a b", Prompt: prompt.Prompt{Box: box(1, 2, 3, 4)}},
			{Label: 2, Name: "object 2", Prompt: prompt.Prompt{Points: [][2]float64{{5, 6}, {5, 7}}, Labels: []int{0, 1}}}}},
		{Words{Texts: []string{"liver"}, IDs: []string{"49406, 7,49407"}}, []Object{
			{Label: 1, Name: "liver", Text: "A segmentation area of a liver.", IDs: []int64{49406, 320, 10551, 9512, 2445, 539, 320, 12639, 269, 49407}}, {Label: 2, Name: "object 2", IDs: []int64{49406, 7, 49407}}}},
		{Words{Groups: []string{"text=a segmentation area of a spleen&name=s&box=1,1,2,2"}}, []Object{{Label: 1, Name: "s", Text: "a segmentation area of a spleen",
			Prompt: prompt.Prompt{Box: box(1, 1, 2, 2)}}}},
	} {
		have, err := c.w.Objects()
		require.NoError(t, err)
		if c.want[0].Name == "s" {
			c.want[0].IDs = have[0].IDs // TestOf holds them
		}
		require.Equal(t, c.want, have)
	}
	for want, w := range map[string]Words{
		"one is needed":                 {},
		"--box: have \"1,2,3\"":         {Boxes: []string{"1,2,3"}},
		"want x0 < x1":                  {Boxes: []string{"9,9,3,3"}},
		"--point: have label 2":         {Points: []string{"3,3,2"}},
		"--point: have 2 objects":       {Boxes: []string{"1,2,3,4", "1,2,3,4"}, Points: []string{"3,3"}},
		"--text: have 2 boxes and 1":    {Boxes: []string{"1,2,3,4", "1,2,3,4"}, Texts: []string{"liver"}},
		"--prompt: have --box":          {Boxes: []string{"1,2,3,4"}, Groups: []string{"box=1,2,3,4"}},
		"--prompt: bx: have it 1 times": {Groups: []string{"bx=1,2,3,4"}},
		"--prompt: box: have it 2":      {Groups: []string{"box=1,2,3,4&box=1,2,3,4"}},
		"want a box, a point or a text": {Groups: []string{"name=x"}},
		"label: two have 2":             {Groups: []string{"box=1,2,3,4&label=2", "box=1,2,3,4"}},
		"label: have \"0\"":             {Groups: []string{"box=1,2,3,4&label=0"}},
		"want token numbers":            {IDs: []string{"1,x"}},
		"have 2 token numbers":          {IDs: []string{"49406,49407"}},
		"have 3 token numbers":          {Groups: []string{"ids=49406,7,49408"}},
		"have 4 token numbers":          {IDs: []string{"1,49406,7,49407"}},
		"both text and ids":             {Groups: []string{"text=a&ids=1"}},
		"have 0 tokens":                 {Texts: []string{" "}},
	} {
		_, err := w.Objects()
		require.ErrorContains(t, err, want)
	}
}

func TestRange(t *testing.T) {
	for s, want := range map[string][2]int{"all": {0, 9}, "0:9": {0, 9}, ":": {0, 9}, "3:": {3, 9}, ":4": {0, 4}, "8:9": {8, 9}} {
		from, to, err := Range(s, 9)
		require.NoError(t, err, s)
		require.Equal(t, want, [2]int{from, to}, s)
	}
	for s, want := range map[string]string{"3": "want a:b", "": "want a:b", "a:b": "want a:b", "1:2:3": "want a:b", "0:10": "want slices of 0:9", "5:5": "want slices", "6:5": "want slices", "-1:3": "want slices"} {
		_, _, err := Range(s, 9)
		require.ErrorContains(t, err, want, s)
	}
}

func TestKindOf(t *testing.T) {
	for path, want := range map[string]Kind{"a.png": PNG, "b/A.PNG": PNG, "x": PNG, "d.e/x": PNG, "m.nii": NIfTI, "m.v2.nii.gz": NIfTI, "s.DCM": SEG} {
		require.Equal(t, want, KindOf(path), path)
	}
}
