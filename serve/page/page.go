// Package page is the page on which an artifact is tried: one file that asks nobody but the server that it came from.
package page

import _ "embed"

// HTML is the page.
//
//go:embed page.html
var HTML []byte

// Policy is its Content-Security-Policy: what is not in the file itself comes from the same server, or not at all.
const Policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
