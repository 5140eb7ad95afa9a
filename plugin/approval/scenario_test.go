package approval

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// TestScenarios plays testdata/*.scenario against New, Do, Judge, Next and Check. testdata/README.md says how a
// scenario is written. Whatever fails is named by file and line.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.scenario")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scenarios: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".scenario"), func(t *testing.T) {
			for _, problem := range playFile(file, string(text)) {
				t.Error(problem)
			}
		})
	}
}

// The runner itself: what is wrong in a scenario, or not as it says, is reported with file and line.
func TestScenarioThatIsWrongFails(t *testing.T) {
	const good = "policy 1 of dbas\n0m  bob  joins dbas\n0m  alice  asks\n  -> pending\n"
	for text, want := range map[string]string{
		"0m  alice  asks\n":                                        `f:1: a scenario begins with its policy`,
		"policy 1 of dbas\n0m  alice  asks\n":                      "f:2: nothing is said of what comes of it",
		good + "1m  bob  approves\n  -> pending\n":                 `f:6: the request is "approved"`,
		good + "1m  bob  approves\n  -> refused: x\n":              "f:6: it is not refused",
		good + "1m  eve  approves\n  -> approved\n":                "f:6: refused: you are in none of the approver groups",
		good + "1m  eve  approves\n  -> refused: x\n":              `f:6: refused with`,
		good + "1m  eve  approves\n  -> refused:\n":                `f:6: refused of what? say it in words`,
		good + "1m  bob  dances\n  -> pending\n":                   `f:5: "dances" is not known`,
		good + "0m  bob  approves\n  -> sleeping\n":                `f:6: "sleeping" is not known`,
		good + "  -> claimable\n":                                  "f:5: it is not claimable",
		good + "  -> todo: end token\n":                            `f:5: to do is "nothing"`,
		good + "  -> inbox: nobody\n":                              `f:5: it is in the inbox of "bob"`,
		good + "  -> seen by: alice\n":                             `f:5: it is seen by "alice, bob"`,
		good + "  -> cannot be met\n":                              "f:5: can be met is true",
		good + "  -> nothing happened\n":                           "f:5: something happened",
		good + "  -> last error: x\n":                              `f:5: the last error is "none"`,
		good + "  -> ends: window_end\n":                           `f:5: it ends as "not at all"`,
		good + "  -> not claimable: nonsense\n":                    "f:5: the obstacles are",
		good + "soon  bob  approves\n":                             `f:5: time: invalid duration "soon"`,
		good + "1m  bob  denies\n  -> denied\n0m  bob  approves\n": "f:7: time goes back",
		"policy 1 of\n":                                            "",
		"policy many of dbas\n":                                    `f:1: "many of dbas" is no rule`,
		"policy 1 of dbas; claim_ttl soon\n":                       `f:1: "claim_ttl soon": time: invalid duration "soon"`,
		"policy 1 of dbas\n  -> pending\n":                         "f:2: there is no request",
	} {
		got := strings.Join(playFile("f", text), "\n")
		if !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s\nsays %q; it must say %q", text, got, want)
		}
	}
}

// playFile plays all scenarios of a file and lists what is wrong: the first of each scenario.
func playFile(file, text string) (problems []string) {
	var p *play
	broken, unsaid := false, 0 // unsaid is the line of which nothing is expected yet
	fail := func(line int, err error) {
		broken = true
		problems = append(problems, fmt.Sprintf("%s:%d: %v", file, line, err))
	}
	finishStep := func() {
		if unsaid > 0 && !broken {
			fail(unsaid, errors.New("nothing is said of what comes of it"))
		}
		unsaid = 0
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		policy, begins := strings.CutPrefix(line, "policy ")
		expected, expects := strings.CutPrefix(line, "->")
		if line == "" || line[0] == '#' || (broken && !begins) {
			continue
		}
		if !expects {
			finishStep()
		}
		var err error
		switch {
		case begins:
			broken = false
			p, err = newPlay(policy)
		case broken:
		case p == nil:
			err = errors.New("a scenario begins with its policy")
		case expects:
			unsaid = 0
			err = p.expect(strings.TrimSpace(expected))
		default:
			var told bool
			if told, err = p.step(line); told {
				unsaid = i + 1
			}
		}
		if err != nil {
			fail(i+1, err)
		}
	}
	finishStep()
	return problems
}

// play is one scenario as far as it has come.
type play struct {
	now      time.Time
	policy   *Policy
	role     *Role
	mount    time.Duration
	people   map[string]Standing
	requests map[string]*Request
	current  string
	tokens   int
	// refused is the refusal of the last step until it is expected, events are what it gave.
	refused error
	events  []Event
}

func newPlay(policy string) (*play, error) {
	role := dba()
	p := &play{now: start, role: &role, mount: 24 * time.Hour, people: map[string]Standing{}, requests: map[string]*Request{}}
	parsed, err := readPolicy(policy)
	if err != nil {
		return p, err
	}
	p.policy = &parsed
	return p, nil
}

// readPolicy reads "2 of dbas; 1 of leads or security; deny_threshold 2".
func readPolicy(text string) (Policy, error) {
	policy := prod()
	for _, part := range strings.Split(text, ";") {
		part = strings.TrimSpace(part)
		words := strings.Fields(part)
		var err error
		switch {
		case part == "none":
		case part == "allow_self_approval":
			policy.AllowSelfApproval = true
		case part == "require_reason":
			policy.RequireReason = true
		case len(words) == 2 && words[0] == "reason_pattern":
			policy.ReasonPattern = words[1]
		case len(words) == 2 && words[0] == "deny_threshold":
			policy.DenyThreshold, err = strconv.Atoi(words[1])
		case len(words) == 2 && words[0] == "request_ttl":
			policy.RequestTTL, err = time.ParseDuration(words[1])
		case len(words) == 2 && words[0] == "claim_ttl":
			policy.ClaimTTL, err = time.ParseDuration(words[1])
		case len(words) == 2 && words[0] == "max_ttl":
			policy.MaxTTL, err = time.ParseDuration(words[1])
		case len(words) >= 2 && words[1] == "of":
			groups := slices.DeleteFunc(words[2:], func(w string) bool { return w == "or" })
			approvals, number := strconv.Atoi(words[0])
			if number != nil {
				return policy, fmt.Errorf("%q is no rule", part)
			}
			policy.Rules = append(policy.Rules, rule("of "+strings.Join(groups, " or "), approvals, groups...))
		default:
			return policy, fmt.Errorf("%q is not known in a policy", part)
		}
		if err != nil {
			return policy, fmt.Errorf("%q: %w", part, err)
		}
	}
	return policy, nil
}

// who is somebody's standing; whoever is named for the first time exists and is in no group.
func (p *play) who(name string) Standing {
	if s, known := p.people[name]; known {
		return s
	}
	p.people[name] = standing(name)
	return p.people[name]
}

func (p *play) census() Census {
	census := Census{}
	for _, s := range p.sorted() {
		for _, group := range s.Groups {
			m := census[group]
			m.People = append(m.People, s)
			census[group] = m
		}
	}
	return census
}

func (p *play) sorted() []Standing {
	var people []Standing
	for _, s := range p.people {
		people = append(people, s)
	}
	slices.SortFunc(people, func(a, b Standing) int { return strings.Compare(a.Name, b.Name) })
	return people
}

func (p *play) world() World {
	world := World{Requester: p.who("alice"), Policy: p.policy, Roster: Roster{}, Census: p.census(), MaxWindow: p.mount}
	for _, s := range p.people {
		world.Roster[s.EntityID] = s
	}
	if p.role != nil {
		now, err := p.role.Now("entity-alice", nil)
		if err != nil {
			panic(err)
		}
		world.Role = now
	}
	return world
}

// step lets one line happen. told is whether something has to be said of what comes of it.
func (p *play) step(line string) (told bool, err error) {
	before, quoted := line, ""
	if i := strings.IndexByte(line, '"'); i >= 0 {
		if quoted, err = strconv.Unquote(line[i:]); err != nil {
			return false, fmt.Errorf("%s: %w", line[i:], err)
		}
		before = line[:i]
	}
	words := strings.Fields(before)
	if len(words) < 3 {
		return false, fmt.Errorf("a line is a time, somebody, and what they do")
	}
	passed, err := time.ParseDuration(words[0])
	if err != nil {
		return false, err
	}
	if start.Add(passed).Before(p.now) {
		return false, fmt.Errorf("time goes back")
	}
	p.now = start.Add(passed)
	name, verb, rest := words[1], words[2], words[3:]
	if name == "time" && verb == "passes" {
		return true, nil
	}
	if name == "admin" {
		return false, p.administer(verb, rest)
	}
	if changed, err := p.change(name, verb, rest); changed || err != nil {
		return false, err
	}
	if n := len(rest); n >= 2 && rest[n-2] == "on" {
		p.current, rest = rest[n-1], rest[:n-2]
	}
	if verb == "asks" {
		return true, p.ask(name, rest, quoted)
	}
	r := p.requests[p.current]
	if r == nil {
		return false, fmt.Errorf("there is no request")
	}
	if verb == "cannot" && len(rest) == 2 && rest[0] == "end" {
		failed := r.Failed(rest[1], quoted, p.now)
		p.requests[p.current], p.events = &failed, nil
		return true, nil
	}
	command, err := p.command(*r, name, verb, rest, quoted)
	if err != nil {
		return false, err
	}
	if p.events, p.refused = Do(*r, command, p.now); p.refused != nil {
		return true, nil //nolint:nilerr // the next line of the scenario says what it expects
	}
	next, err := r.With(p.events...)
	if err != nil {
		return false, err
	}
	p.requests[p.current] = &next
	return true, nil
}

func (p *play) command(r Request, name, verb string, rest []string, quoted string) (Command, error) {
	who := p.who(name)
	switch verb + " " + strings.Join(rest, " ") {
	case "approves ":
		return Decide{Approver: who, Requester: p.who("alice"), Verdict: Approve, Comment: quoted}, nil
	case "denies ":
		return Decide{Approver: who, Requester: p.who("alice"), Verdict: Deny, Comment: quoted}, nil
	case "withdraws ":
		return Withdraw{who}, nil
	case "cancels ":
		return Cancel{who}, nil
	case "claims ":
		p.tokens++
		return BeginClaim{Claimer: who, World: p.world(), Token: grant.Token{Accessor: fmt.Sprintf("accessor-%d", p.tokens)}}, nil
	case "revokes ":
		return Revoke{By: who}, nil
	case "revokes as auditor":
		return Revoke{By: who, Auditor: true}, nil
	case "revokes as operator":
		return Revoke{By: who, Operator: true}, nil
	case "gives up":
		return AbortClaim{Token: theToken}, nil
	case "loses the lease":
		return LeaseEnded{}, nil
	}
	switch {
	case verb == "grants" && len(rest) <= 1:
		until := p.now.Add(r.Ask.TTL)
		handles := grant.Handles{grant.Lease{ID: r.ID}}
		if r.Claim != nil {
			until, handles = r.Claim.At.Add(r.Ask.TTL), append(grant.Handles{r.Claim.Token}, handles...)
		}
		if len(rest) == 1 {
			window, err := time.ParseDuration(rest[0])
			if err != nil {
				return nil, err
			}
			until = p.now.Add(window)
		}
		return GiveGrant{World: p.world(), Handles: handles, Until: until}, nil
	case verb == "ended" && len(rest) == 1:
		return Gone{Handle: rest[0]}, nil
	}
	return nil, fmt.Errorf("%q is not known", strings.Join(append([]string{verb}, rest...), " "))
}

// ask reads "asks [for TTL] [as NAME]" with the reason.
func (p *play) ask(name string, rest []string, reason string) error {
	q := Question{Role: *p.role, Policy: *p.policy, Requester: p.who(name), Reason: reason, TTL: time.Hour, MaxWindow: p.mount, MaxWaiting: 20}
	p.current = "it"
	for ; len(rest) >= 2; rest = rest[2:] {
		var err error
		switch rest[0] {
		case "for":
			q.TTL, err = time.ParseDuration(rest[1])
		case "as":
			p.current = rest[1]
		case "with":
			key, value, _ := strings.Cut(rest[1], "=")
			q.Parameters = map[string]string{key: value}
		default:
			err = fmt.Errorf("%q is not known", rest[0])
		}
		if err != nil {
			return err
		}
	}
	record, err := New(fmt.Sprintf("01929d3e-7c4b-7e2a-9f10-%012d", len(p.requests)), q, p.now)
	if err != nil {
		p.refused = err
		return nil //nolint:nilerr // the next line of the scenario says what it expects
	}
	r, err := Replay(record)
	p.requests[p.current] = &r
	return err
}

// change lets something about a person change, and reports whether that was it.
func (p *play) change(name, verb string, rest []string) (bool, error) {
	s := p.who(name)
	switch verb {
	case "joins":
		s.Groups = append(slices.Clone(s.Groups), rest...)
	case "leaves":
		s.Groups = slices.DeleteFunc(slices.Clone(s.Groups), func(g string) bool { return slices.Contains(rest, g) })
	case "is":
		switch strings.Join(rest, " ") {
		case "disabled":
			s.Disabled = true
		case "enabled":
			s.Disabled = false
		case "deleted":
			s.Exists = false
		default:
			return false, fmt.Errorf("somebody can be disabled, enabled or deleted")
		}
	case "takes":
		if len(rest) != 2 || rest[0] != "over" {
			return false, fmt.Errorf("somebody can take over somebody")
		}
		other := p.who(rest[1])
		s.Aliases = append(slices.Clone(s.Aliases), other.Aliases...)
		other.Exists = false
		p.people[rest[1]] = other
	default:
		return false, nil
	}
	p.people[name] = s
	return true, nil
}

func (p *play) administer(verb string, rest []string) error {
	what := strings.Join(rest, " ")
	switch {
	case verb == "deletes" && what == "policy":
		p.policy = nil
	case verb == "deletes" && what == "role":
		p.role = nil
	case verb == "writes" && rest[0] == "policy":
		policy, err := readPolicy(strings.Join(rest[1:], " "))
		if err != nil {
			return err
		}
		policy.Version, policy.UpdatedAt = 2, p.now
		p.policy = &policy
	case verb == "lets" && len(rest) > 0:
		p.role.RequesterEntityIDs = nil
		for _, name := range rest {
			p.role.RequesterEntityIDs = append(p.role.RequesterEntityIDs, "entity-"+name)
		}
	case verb == "allows" && len(rest) == 1:
		window, err := time.ParseDuration(rest[0])
		p.mount = window
		return err
	case verb == "gives" && what == "what cannot be taken back":
		changeSecret(p.role, func(s *grant.Secret) { s.AllowUnleased = true })
	case verb == "gives" && len(rest) == 1:
		changeSecret(p.role, func(s *grant.Secret) {
			s.Path, s.Parameters = rest[0], nil
			if strings.Contains(rest[0], "{{.Parameters.db}}") {
				s.Parameters = grant.Parameters{"db": {Pattern: ".*", Required: true}}
			}
		})
	default:
		return fmt.Errorf("%q is not known of an admin", verb+" "+what)
	}
	return nil
}

// expect compares one line of what is expected with what is.
func (p *play) expect(text string) error {
	what, words, _ := strings.Cut(text, ":")
	words = strings.TrimSpace(words)
	if what == "refused" {
		if words == "" {
			return fmt.Errorf("refused of what? say it in words")
		}
		if p.refused == nil {
			return fmt.Errorf("it is not refused")
		}
		if !strings.Contains(p.refused.Error(), words) {
			return fmt.Errorf("refused with %q", p.refused.Error())
		}
		p.refused = nil
		return nil
	}
	if p.refused != nil {
		return fmt.Errorf("refused: %w", p.refused)
	}
	if what == "can be met" || what == "cannot be met" {
		if can := Check(*p.policy, p.who("alice").Person, p.census()).Satisfiable; can != (what == "can be met") {
			return fmt.Errorf("can be met is %t", can)
		}
		return nil
	}
	current := p.requests[p.current]
	if current == nil {
		return fmt.Errorf("there is no request")
	}
	r := *current
	back, err := Replay(r.Record)
	if err != nil {
		return err
	}
	if back.State(p.now) != r.State(p.now) {
		return fmt.Errorf("replayed, the request is %q", back.State(p.now))
	}
	differs := func(format, got string) error {
		if got != words {
			return fmt.Errorf(format, got)
		}
		return nil
	}
	v := Judge(r, p.world(), p.now)
	switch what {
	case "nothing happened":
		if len(p.events) > 0 || len(r.Events) == 0 {
			return fmt.Errorf("something happened")
		}
	case "claimable":
		if !v.Claimable {
			return fmt.Errorf("it is not claimable: %s", strings.Join(v.Obstacles, "; "))
		}
	case "not claimable":
		if v.Claimable || !strings.Contains(strings.Join(v.Obstacles, "; "), words) {
			return fmt.Errorf("the obstacles are %q", v.Obstacles)
		}
	case "todo":
		return differs("to do is %q", p.todo(r))
	case "inbox":
		return differs("it is in the inbox of %q", p.those(func(s Standing) bool { return r.Decidable(s, p.who("alice"), p.now) }))
	case "seen by":
		return differs("it is seen by %q", p.those(func(s Standing) bool { return r.MaySee(s, false) }))
	case "last error":
		got := "none"
		if r.End != nil && r.End.LastError != "" {
			got = r.End.LastError
		}
		return differs("the last error is %q", got)
	case "ends":
		got := "not at all"
		if end := r.Ending(p.now); end != nil {
			got = string(end.Reason)
			if end.By != nil {
				got += " by " + end.By.Name
			}
		}
		return differs("it ends as %q", got)
	default:
		if !slices.Contains(States(), State(text)) {
			return fmt.Errorf("%q is not known", text)
		}
		if state := r.State(p.now); state != State(text) {
			return fmt.Errorf("the request is %q", state)
		}
	}
	return nil
}

func (p *play) todo(r Request) string {
	var tasks []string
	for _, task := range Next(r, p.now) {
		switch task := task.(type) {
		case EndHandle:
			tasks = append(tasks, "end "+task.Handle.Key())
		case File:
			tasks = append(tasks, "file it away")
		}
	}
	if tasks == nil {
		return "nothing"
	}
	return strings.Join(tasks, ", ")
}

// those are the names of the people for whom something is so, or "nobody".
func (p *play) those(is func(Standing) bool) string {
	var names []string
	for _, s := range p.sorted() {
		if is(s) {
			names = append(names, s.Name)
		}
	}
	if names == nil {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
