package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// checkInput refuses unknown fields by name, and values that do not mean exactly one thing. It leaves each accepted
// value in the one form the framework takes without converting: by itself it would make 1 of 1.9, and 0 of 500ms.
func (b *backend) checkInput(req *logical.Request) error {
	fromUser := []logical.Operation{
		logical.CreateOperation, logical.UpdateOperation, logical.ReadOperation, logical.ListOperation, logical.DeleteOperation,
	}
	if len(req.Data) == 0 || !slices.Contains(fromUser, req.Operation) {
		return nil
	}
	path := b.Route(req.Path)
	if path == nil {
		return nil // the framework says so better
	}
	decoded, err := b.accepts[path].Decode(req.Data)
	if err == nil {
		req.Data = decoded
	}
	return err
}

// checkGivenOnce refuses a field that is one thing in the path and another in the body: the framework takes the path's.
func checkGivenOnce(req *logical.Request, d *framework.FieldData) error {
	for name, inBody := range req.Data {
		inPath, ok := d.Raw[name].(string)
		if !ok || inPath == inBody {
			continue
		}
		if word, isText := inBody.(string); name != requestID || !isText || mendID(word) != mendID(inPath) {
			return refusal.New(name, fmt.Sprintf("it is %.64q in the path and %.64q in the body", inPath, fmt.Sprint(inBody)), "give it once")
		}
	}
	return nil
}

// requestID is the field that names a request.
const requestID = "id"

// id is the id of the request that the caller names.
func (c *call) id() string { return mendID(c.text(requestID)) }

// mendID takes away what copying adds to an id.
func mendID(id string) string { return strings.ToLower(strings.TrimSpace(id)) }
