package object

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/attr/xattr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

var (
	_ basetypes.StringTypable                    = DurationType{}
	_ basetypes.StringValuableWithSemanticEquals = Duration{}
	_ xattr.ValidateableAttribute                = Duration{}
)

// DurationType is that of durations as Vault takes them: 90, 90s, 1h30m or 7d, of whole seconds from 1. Different
// spellings of one duration are equal.
type DurationType struct{ basetypes.StringType }

func (DurationType) String() string { return "duration" }

// ValueType is a Duration.
func (DurationType) ValueType(context.Context) attr.Value { return Duration{} }

// Equal reports whether the other type is that of durations, too.
func (DurationType) Equal(other attr.Type) bool {
	_, ok := other.(DurationType)
	return ok
}

// ValueFromString makes a Duration.
func (DurationType) ValueFromString(_ context.Context, in basetypes.StringValue) (basetypes.StringValuable, diag.Diagnostics) {
	return Duration{in}, nil
}

// ValueFromTerraform makes a Duration.
func (t DurationType) ValueFromTerraform(ctx context.Context, in tftypes.Value) (attr.Value, error) {
	value, err := t.StringType.ValueFromTerraform(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("reading a duration: %w", err)
	}
	spelled, ok := value.(basetypes.StringValue)
	if !ok {
		return nil, fmt.Errorf("reading a duration: it is a %T", value)
	}
	return Duration{spelled}, nil
}

// Duration is a value of DurationType.
type Duration struct{ basetypes.StringValue }

// Spell is so many seconds as people write them: 8h, 1h30m, 90s.
func Spell(seconds wire.Seconds) Duration {
	return Duration{basetypes.NewStringValue(seconds.String())}
}

// Seconds is how long it is; 0 if it is null, not known or no duration.
func (d Duration) Seconds() wire.Seconds {
	seconds, _ := wire.ParseSeconds(d.ValueString())
	return seconds
}

// Type is DurationType.
func (Duration) Type(context.Context) attr.Type { return DurationType{} }

// Equal reports whether the other value is spelled alike.
func (d Duration) Equal(other attr.Value) bool {
	o, ok := other.(Duration)
	return ok && d.StringValue.Equal(o.StringValue)
}

// StringSemanticEquals makes 1h and 3600 equal.
func (d Duration) StringSemanticEquals(_ context.Context, other basetypes.StringValuable) (bool, diag.Diagnostics) {
	o, ok := other.(Duration)
	return ok && d.Seconds() != 0 && d.Seconds() == o.Seconds(), nil
}

// ValidateAttribute refuses what the engine would refuse.
func (d Duration) ValidateAttribute(_ context.Context, req xattr.ValidateAttributeRequest, resp *xattr.ValidateAttributeResponse) {
	if d.IsNull() || d.IsUnknown() {
		return
	}
	if _, err := wire.ParseSeconds(d.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Not a duration", err.Error())
	}
}
