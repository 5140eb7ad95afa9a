package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-secure-stdlib/parseutil"
)

// Seconds is a duration as it travels: in whole seconds.
type Seconds int64

// ToSeconds is the duration in whole seconds, what is left over dropped.
func ToSeconds(d time.Duration) Seconds { return Seconds(d / time.Second) }

// Duration is the duration for Go.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// String is the duration as people write it: 8h, 1h30m, 90s.
func (s Seconds) String() string {
	text := s.Duration().String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// maxSeconds is about a hundred years: far above any use and far below what overflows a time.Duration.
const maxSeconds = 100 * 366 * 24 * 60 * 60

// ParseSeconds reads whole seconds from 1 as Vault writes durations: 90, 90s, 1h30m, 7d.
func ParseSeconds(text string) (Seconds, error) {
	duration, err := parseutil.ParseDurationSecond(text)
	if err != nil || text == "" || duration < time.Second || duration%time.Second != 0 || duration/time.Second > maxSeconds {
		return 0, fmt.Errorf("%s is not accepted; it must be whole seconds from 1, such as 3600 or 1h", quoteShort(text))
	}
	return ToSeconds(duration), nil
}

// Time is a time as it travels: RFC 3339 in UTC with milliseconds, "" for the zero time.
type Time struct{ time.Time }

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// String is the time as it travels.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeFormat)
}

// MarshalJSON writes the time as it travels.
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// UnmarshalJSON reads the time as it travels.
func (t *Time) UnmarshalJSON(text []byte) error {
	var written string
	if err := json.Unmarshal(text, &written); err != nil {
		return err
	}
	if written == "" {
		t.Time = time.Time{}
		return nil
	}
	read, err := time.Parse(time.RFC3339, written)
	t.Time = read
	return err
}

// DefaultValue is what the field has on the wire if it is not given.
func (f Field) DefaultValue() any {
	switch f.Type {
	case String, Moment:
		word, _ := f.Default.(string)
		return word
	case Bool:
		truth, _ := f.Default.(bool)
		return truth
	case Int:
		if written, ok := f.Default.(string); ok {
			seconds, _ := ParseSeconds(written) // a test reads all tables
			return int64(seconds)
		}
		number, _ := f.Default.(int)
		return int64(number)
	case Strings:
		return []string{}
	case Objects:
		return []any{}
	case Pairs:
		return map[string]string{}
	case JSON, ObjectsByName:
		return map[string]any{}
	case Object:
	}
	return nil
}

// DefaultText is the default as people write it; "" if it is the zero value of a type that has no better word for it.
func (f Field) DefaultText() string {
	switch value := f.Default.(type) {
	case string:
		return value
	case int:
		return strconv.Itoa(value)
	case bool:
		return strconv.FormatBool(value)
	}
	return ""
}

// Defaults are the values of a new object of which nothing was given.
func (t Table) Defaults() map[string]any {
	values := map[string]any{}
	for _, f := range t.Accepted() {
		values[f.Name] = f.DefaultValue()
	}
	return values
}
