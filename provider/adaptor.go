package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
)

// This file holds what is used until requests and credentials take object.Data, too.

// configured is what resources of either make get.
type configured struct {
	*object.Data
	engine *engine
}

func (e *engine) configured() any {
	if e == nil {
		return nil
	}
	data := &object.Data{Mount: e.mount, Run: e.run, Client: e.client}
	if e.writing != nil {
		data.Place = strings.Join([]string{e.writing.Address(), e.writing.Namespace(), e.mount}, "\n")
	}
	return &configured{Data: data, engine: e}
}

func engineOf(given any) *engine {
	if c, ok := given.(*configured); ok {
		return c.engine
	}
	return nil
}

func (e *engine) client(ctx context.Context) (*client.Client, error) {
	if err := e.ready(ctx); errors.Is(err, errNoMount) {
		return nil, fmt.Errorf("%w%s", client.ErrNoMount, strings.TrimPrefix(err.Error(), errNoMount.Error()))
	} else if err != nil {
		return nil, err
	}
	c, err := client.New(e.reading, e.mount)
	if err != nil {
		return nil, err
	}
	c.SetToken(e.writing.Token())
	if e.login.own {
		c.Relogin = func(ctx context.Context, forgotten string) (string, error) {
			err := e.logInAgain(ctx, forgotten)
			return e.writing.Token(), err
		}
	}
	return c, nil
}

func typeName(word string) string { return typePrefix + "_" + word }

func warn(diags *diag.Diagnostics, summary string, answer *api.Secret) {
	if answer != nil {
		for _, warning := range answer.Warnings {
			diags.AddWarning(summary, warning)
		}
	}
}

func blame(diags *diag.Diagnostics, summary string, err error, _ map[string]schema.Attribute) {
	var refused *refusalError // which does not have the field yet
	if errors.As(err, &refused) {
		if field, problem, found := strings.Cut(refused.message, ": "); found {
			err = refusal.New(field, problem, "")
		}
	}
	object.Refuse(diags, wire.RequestTable, summary, err)
}
