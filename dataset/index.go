package dataset

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
)

// WriteIndex writes items as an index {mask: image}, a line each, and counts masks and images (those that follow one another).
// Nothing is written of no masks.
func WriteIndex(w io.Writer, items iter.Seq2[Item, error]) (masks, images int, err error) {
	b := bufio.NewWriter(w)
	last := ""
	for item, err := range items {
		if err != nil {
			return masks, images, err
		}
		if item.Image != last || masks == 0 {
			images, last = images+1, item.Image
		}
		mask, err := quoted(item.Mask)
		if err != nil {
			return masks, images, err
		}
		image, err := quoted(item.Image)
		if err != nil {
			return masks, images, err
		}
		comma := ",\n "
		if masks == 0 {
			comma = "{\n "
		}
		fmt.Fprintf(b, "%s%s: %s", comma, mask, image)
		masks++
	}
	if masks == 0 {
		return 0, 0, nil
	}
	fmt.Fprintln(b, "\n}")
	return masks, images, b.Flush()
}

// quoted is a JSON string with its "&" and "<" as they are.
func quoted(s string) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	return strings.TrimSuffix(b.String(), "\n"), err
}
