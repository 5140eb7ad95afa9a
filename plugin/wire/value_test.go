package wire

import (
	"testing"

	"pgregory.net/rapid"
)

func TestDurationsAreSpelledAsPeopleDo(t *testing.T) {
	for seconds, want := range map[Seconds]string{1: "1s", 90: "1m30s", 3600: "1h", 5400: "1h30m", 3601: "1h0m1s", 28800: "8h", 2592000: "720h"} {
		if got := seconds.String(); got != want {
			t.Errorf("%d s is spelled %q, want %q", int64(seconds), got, want)
		}
	}
}

func TestDurationsReadAsTheyAreSpelled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := Seconds(rapid.Int64Range(1, maxSeconds).Draw(t, "seconds"))
		if back, err := ParseSeconds(seconds.String()); err != nil || back != seconds {
			t.Fatalf("%s became %s (%v)", seconds, back, err)
		}
	})
}

func TestDurationsThatVaultCannotCountAreRefused(t *testing.T) {
	for _, text := range []string{"", "0", "-1", "1.5", "500ms", "1500ms", "soon", "1h1", "99999999999999999999", "36601d", "1w"} {
		if got, err := ParseSeconds(text); err == nil {
			t.Errorf("%q is accepted as %s", text, got)
		}
	}
}
