// Package wire is what travels between the engine and whoever calls it: a [Table] for each object of the API, with a
// row for each field, and the structs of types.go, which are generated from the tables.
//
// A row is all there is to say of a field. From it come the engine's schema and its strict decoding, the help and the
// OpenAPI description, the API page, the Terraform provider's attributes and the fields of the Go client.
//
// On the wire a duration is whole seconds and a time is RFC 3339. In the core they are time.Duration and time.Time.
// [Merge] and [Show] convert between the two.
package wire

//go:generate go run ../../scripts/wire-types
//go:generate go run ../../scripts/api-docs

import (
	"slices"
	"strings"
)

// Type is what a value is on the wire. The zero Type is none.
type Type int

const (
	// String is a JSON string.
	String Type = iota + 1
	// Int is a whole number.
	Int
	// Bool is true or false.
	Bool
	// Moment is a time: RFC 3339 in UTC with milliseconds, or "" for none.
	Moment
	// Strings is a list of strings, none of them empty and none there twice.
	Strings
	// Pairs is an object whose values are strings.
	Pairs
	// JSON is an object of anything.
	JSON
	// Object is an object with the fields of another table.
	Object
	// Objects is a list of such objects.
	Objects
	// ObjectsByName is an object of such objects, by name.
	ObjectsByName
)

// Unit is what a number counts.
type Unit string

// InSeconds makes an Int a duration: whole seconds from 1, which are also accepted as Vault writes durations, such as 1h.
const InSeconds Unit = "seconds"

// A Field is one row of a table.
type Field struct {
	// Name is the field's name everywhere: on the wire, in the storage, in Terraform.
	Name string
	Type Type
	// Of describes what an Object, Objects or ObjectsByName holds.
	Of *Table
	// Unit is what an Int counts; empty if it is only a number.
	Unit Unit
	// Description is one or more sentences in Markdown. It does not name the default.
	Description string
	// Default is what an accepted field has if it is not given, as it would be written: a string, an int, a bool, or
	// "8h" for a duration. Nil stands for the zero value of the type.
	Default any
	// DefaultSaid says in words what holds if the field is not given, where a value alone does not tell.
	DefaultSaid string
	// OneOf are the only values that a String accepts, or a Strings accepts as entries; nil for any.
	OneOf []string
	// Required fields have to be given.
	Required bool
	// Computed fields are answered and not accepted.
	Computed bool
	// Sensitive fields are accepted and never answered.
	Sensitive bool
	// Zero says that a duration may be 0, which then stands for what DefaultSaid says.
	Zero bool
	// Null says that an answered Object or list may be null.
	Null bool
	// Replaces says that another value makes another object: Terraform destroys one and creates the other.
	Replaces bool
	// Ordered says of a list of strings that its order matters, or that an entry may be there twice.
	Ordered bool
	// Listed fields are part of the summary in a detailed list, where a list is shown as its length.
	Listed bool
}

// IsDuration reports whether the field holds a duration.
func (f Field) IsDuration() bool { return f.Unit == InSeconds }

// IsList reports whether the field holds a list.
func (f Field) IsList() bool { return f.Type == Strings || f.Type == Objects }

// A Table describes one object.
type Table struct {
	// Name is the name of the Go struct.
	Name string
	// Description says what the object is, in a sentence without its subject, as in "is a named set of approvers".
	Description string
	// Embeds are tables whose fields belong to the object, too, unless it has a field of that name itself.
	Embeds []Table
	Fields []Field
}

// All lists the fields of the object, those of embedded tables first.
func (t Table) All() []Field {
	var all []Field
	for _, embedded := range t.Embeds {
		for _, field := range embedded.All() {
			if !slices.ContainsFunc(t.Fields, func(own Field) bool { return own.Name == field.Name }) {
				all = append(all, field)
			}
		}
	}
	return append(all, t.Fields...)
}

// Accepted lists the fields that can be given.
func (t Table) Accepted() []Field {
	return slices.DeleteFunc(t.All(), func(f Field) bool { return f.Computed })
}

// Answered lists the fields that are shown.
func (t Table) Answered() []Field {
	return slices.DeleteFunc(t.All(), func(f Field) bool { return f.Sensitive })
}

// Find returns the field of the given name.
func (t Table) Find(name string) (Field, bool) {
	all := t.All()
	if i := slices.IndexFunc(all, func(f Field) bool { return f.Name == name }); i >= 0 {
		return all[i], true
	}
	return Field{}, false
}

// With is the table with more fields.
func (t Table) With(fields ...Field) Table {
	t.Fields = slices.Concat(t.Fields, fields)
	return t
}

// ReadOnly is the table of what is only answered.
func (t Table) ReadOnly() Table {
	shown := Table{Name: t.Name, Description: t.Description, Fields: t.Answered()}
	for i := range shown.Fields {
		f := &shown.Fields[i]
		f.Computed, f.Required, f.Default, f.DefaultSaid = true, false, nil, ""
		if f.Of != nil {
			of := f.Of.ReadOnly()
			f.Of = &of
		}
	}
	return shown
}

// Summary is the table of what a detailed list shows of the object.
func (t Table) Summary() Table {
	summary := Table{Name: t.Name + "Summary", Description: "is what a detailed list shows of " + t.Name + "."}
	for _, f := range t.ReadOnly().Fields {
		if !f.Listed {
			continue
		}
		if f.IsList() {
			f.Type, f.Of, f.Description = Int, nil, "How many there are in `"+f.Name+"`."
		}
		summary.Fields = append(summary.Fields, f)
	}
	return summary
}

// Help is the description of the field as text, with its default and what objects in it have: what Vault's path-help shows.
func (f Field) Help() string {
	help := f.Description
	switch f.Type {
	case Objects:
		help += " A JSON list of objects with " + f.Of.listNames() + "."
	case ObjectsByName:
		help += " A JSON object of objects with " + f.Of.listNames() + "."
	case String, Int, Bool, Moment, Strings, Pairs, JSON, Object:
	}
	if f.Required {
		help += " Required."
	}
	return strings.ReplaceAll(help+f.defaultSentence(), "`", "")
}

// listNames lists the fields of the object in a sentence.
func (t Table) listNames() string {
	var names []string
	for _, f := range t.All() {
		names = append(names, f.Name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// Markdown is the description of the field with its default.
func (f Field) Markdown() string { return f.Description + f.defaultSentence() }

func (f Field) defaultSentence() string {
	switch {
	case f.Required || f.Computed:
		return ""
	case f.Zero:
		return " Default: " + f.DefaultSaid + ", which `0` goes back to."
	case f.DefaultSaid != "":
		return " Default: " + f.DefaultSaid + "."
	case f.Default != nil:
		return " Default: `" + f.DefaultText() + "`."
	}
	return ""
}
