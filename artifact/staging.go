package artifact

import (
	"path"
	"path/filepath"

	"syncsam-convert/internal/output"
)

// Stage prepares a new artifact beside its target. An existing target is an error, unless force is given and the target is an artifact or an empty
// folder. Then what its manifest lists is replaced; what else lies in it, such as plans that took hours, is kept, and refused by name where the new
// artifact has a file of that name.
func Stage(target string, force bool) (*output.Folder, error) {
	if !force {
		return output.NewFolder(target, nil)
	}
	return output.NewFolder(target, Listed)
}

// Signature is the file that a signed artifact has beside its manifest: of what is replaced it says nothing.
const Signature = "model.sig"

// Listed are the files of an artifact that the program wrote: the manifest, the signature, what the manifest lists, and what the manifests among these
// list.
func Listed(dir string) (map[string]bool, error) {
	m, err := Read(dir)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{ManifestName: true, Signature: true}
	for _, f := range m.Files {
		names[f.Name] = true
		if sub := path.Dir(f.Name); path.Base(f.Name) == ManifestName && sub != "." {
			inner, err := Read(filepath.Join(dir, filepath.FromSlash(sub)))
			if err != nil {
				continue // what it listed is not known, and will be kept or refused
			}
			for _, g := range inner.Files {
				names[path.Join(sub, g.Name)] = true
			}
		}
	}
	return names, nil
}
