package provider

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-secure-stdlib/parseutil"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/attr/xattr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

var (
	_ basetypes.StringTypable                    = durationType{}
	_ basetypes.StringValuableWithSemanticEquals = duration{}
	_ xattr.ValidateableAttribute                = duration{}
	_ planmodifier.String                        = sameDuration{}
)

// durationType is that of durations as Vault takes them: 90, 90s, 1h30m or 7d, of whole seconds from 1. Different
// spellings of one duration are equal.
type durationType struct{ basetypes.StringType }

func (durationType) String() string                       { return "duration" }
func (durationType) ValueType(context.Context) attr.Value { return duration{} }

func (durationType) Equal(other attr.Type) bool {
	_, ok := other.(durationType)
	return ok
}

func (durationType) ValueFromString(_ context.Context, in basetypes.StringValue) (basetypes.StringValuable, diag.Diagnostics) {
	return duration{in}, nil
}

func (t durationType) ValueFromTerraform(ctx context.Context, in tftypes.Value) (attr.Value, error) {
	value, err := t.StringType.ValueFromTerraform(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("reading a duration: %w", err)
	}
	text, ok := value.(basetypes.StringValue)
	if !ok {
		return nil, fmt.Errorf("reading a duration: it is a %T", value)
	}
	return duration{text}, nil
}

// duration is a value of durationType.
type duration struct{ basetypes.StringValue }

// durationOf spells so many seconds as people do: 8h, 1h30m, 90s.
func durationOf(d time.Duration) duration {
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return duration{basetypes.NewStringValue(text)}
}

func (duration) Type(context.Context) attr.Type { return durationType{} }

func (d duration) Equal(other attr.Value) bool {
	o, ok := other.(duration)
	return ok && d.StringValue.Equal(o.StringValue)
}

// StringSemanticEquals makes 1h and 3600 equal.
func (d duration) StringSemanticEquals(_ context.Context, other basetypes.StringValuable) (bool, diag.Diagnostics) {
	o, ok := other.(duration)
	return ok && d.same(o), nil
}

func (d duration) same(other duration) bool {
	mine, mineErr := parseDuration(d.ValueString())
	its, itsErr := parseDuration(other.ValueString())
	return mineErr == nil && itsErr == nil && mine == its
}

// or is the duration, or the given one if it is not there, not known or no duration.
func (d duration) or(otherwise time.Duration) time.Duration {
	if value, err := parseDuration(d.ValueString()); err == nil {
		return value
	}
	return otherwise
}

// ValidateAttribute refuses what the engine would refuse.
func (d duration) ValidateAttribute(_ context.Context, req xattr.ValidateAttributeRequest, resp *xattr.ValidateAttributeResponse) {
	if d.IsNull() || d.IsUnknown() {
		return
	}
	if _, err := parseDuration(d.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Not a duration", err.Error())
	}
}

// longestDuration is what the engine accepts at most: about a hundred years.
const longestDuration = 100 * 366 * 24 * time.Hour

func parseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not accepted; it must be whole seconds from 1, such as 3600 or 1h", text)
	if text == "" {
		return 0, wrong
	}
	parsed, err := parseutil.ParseDurationSecond(text)
	if err != nil || parsed < time.Second || parsed%time.Second != 0 || parsed > longestDuration {
		return 0, wrong
	}
	return parsed, nil
}

// sameDuration keeps the spelling that is in the state when the configuration has another one of the same duration,
// so that there is nothing to plan.
type sameDuration struct{}

func (sameDuration) Description(context.Context) string               { return "Another spelling is no change." }
func (s sameDuration) MarkdownDescription(ctx context.Context) string { return s.Description(ctx) }

func (sameDuration) PlanModifyString(_ context.Context, req planmodifier.StringRequest, resp *planmodifier.StringResponse) {
	if (duration{req.StateValue}).same(duration{req.PlanValue}) {
		resp.PlanValue = req.StateValue
	}
}
