package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
)

// nowPlanned remembers what this run is going to create, so that a name that is neither planned nor there yet can be
// refused at plan time. Terraform plans what a resource refers to before the resource itself.
func (e *engine) nowPlanned(kind, name string) { e.run.Note(e.plannedAs(kind, name)) }

// isPlanned also takes the word of a provider block whose mount is not known yet: it may be this one.
func (e *engine) isPlanned(kind, name string) bool {
	return e.run.Knows(e.plannedAs(kind, name)) || e.run.Knows((&engine{}).plannedAs(kind, name))
}

// plannedAs names a definition among those of all mounts.
func (e *engine) plannedAs(kind, name string) string {
	if e.writing == nil {
		return strings.Join([]string{"planned", kind, name}, "\n")
	}
	return strings.Join([]string{"planned", kind, name, e.writing.Address(), e.writing.Namespace(), e.mount}, "\n")
}

// A reference is to an object of the engine, by its name.
type reference struct {
	kind, collection, name string
	at                     path.Path
}

// expect reports a reference that leads nowhere. Where that cannot be found out now, the engine will say so.
func (e *engine) expect(ctx context.Context, diags *diag.Diagnostics, r reference) {
	if e == nil || e.unusable != nil || r.name == "" || e.isPlanned(r.kind, r.name) {
		return
	}
	found, err := e.read(ctx, joinPath(r.collection, r.name))
	if err != nil && !errors.Is(err, errNoMount) {
		return
	}
	if found == nil {
		diags.AddAttributeError(r.at, fmt.Sprintf("There is no %s %q", r.kind, r.name), fmt.Sprintf(
			"Neither does it exist, nor is it planned before this. If this configuration makes it, refer to the resource "+
				"(such as vaultjit_%s.example.name) rather than writing the name, so that Terraform makes it first.", strings.ReplaceAll(r.kind, " ", "_")))
	}
}
