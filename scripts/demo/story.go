package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// window is how long alice's first access lasts: long enough to see it work, short enough to see it end.
const window = 20 * time.Second

// tell lets it all happen. Whatever does not go as told is an error.
func (s *scene) tell(ctx context.Context) error {
	s.title("alice asks")
	out, err := s.vault(ctx, "alice", "write", "jit/request", "role=prod-db",
		"reason=INC-4711: orders are stuck, need to look at the queue", "ttl="+window.String())
	if err != nil {
		return err
	}
	id, err := value(out, "id")
	if err != nil {
		return err
	}
	s.say("Nobody has agreed yet, so there is nothing to claim:")
	if err := s.refused(ctx, "alice", "write", "-f", "jit/claim/"+id); err != nil {
		return err
	}
	if err := s.approvals(ctx, id); err != nil {
		return err
	}
	if err := s.untilTheWindowEnds(ctx, id); err != nil {
		return err
	}
	if err := s.untilBobEndsIt(ctx); err != nil {
		return err
	}
	s.title("That was all")
	return s.working("Ending Vault and PostgreSQL and removing what they stored", s.close)
}

// approvals are bob's and then carol's, with alice trying in between.
func (s *scene) approvals(ctx context.Context, id string) error {
	s.title("bob looks at it and approves")
	if _, err := s.vault(ctx, "bob", "read", "jit/requests/"+id); err != nil {
		return err
	}
	if _, err := s.vault(ctx, "bob", "write", "-field=state", "jit/approve", "id="+id, "comment=seen the incident"); err != nil {
		return err
	}
	s.say("One of two. alice is a database administrator, too, but not for herself:")
	if err := s.refused(ctx, "alice", "write", "jit/approve", "id="+id); err != nil {
		return err
	}

	s.title("carol finds it in her inbox and approves")
	if _, err := s.vault(ctx, "carol", "list", "jit/inbox"); err != nil {
		return err
	}
	if _, err := s.vault(ctx, "carol", "read", "-field=reason", "jit/requests/"+id); err != nil {
		return err
	}
	_, err := s.vault(ctx, "carol", "write", "-field=state", "jit/approve", "id="+id, "comment=go ahead")
	return err
}

// untilTheWindowEnds lets alice claim, log in, and find herself locked out when her time is over.
func (s *scene) untilTheWindowEnds(ctx context.Context, id string) error {
	s.title("alice claims, and logs in")
	name, password, err := s.claim(ctx, id)
	if err != nil {
		return err
	}
	claimed := time.Now()
	if err := s.logIn(ctx, name, password); err != nil {
		return err
	}

	s.title("The window ends")
	err = s.working(fmt.Sprintf("Waiting for the end of the %s that were approved", window), func() error {
		return s.untilGone(ctx, name, claimed.Add(window+20*time.Second))
	})
	if err != nil {
		return err
	}
	if err := s.lockedOut(ctx, name, password); err != nil {
		return err
	}
	_, err = s.vault(ctx, "alice", "read", "-field=grant", "-format=yaml", "jit/requests/"+id)
	return err
}

// untilBobEndsIt is the same once more, ended early by somebody who approved.
func (s *scene) untilBobEndsIt(ctx context.Context) error {
	s.title("The same again, ended early")
	id, err := s.vault(ctx, "alice", "write", "-field=id", "jit/request", "role=prod-db", "reason=INC-4712: one more look", "ttl=10m")
	if err != nil {
		return err
	}
	for _, who := range []string{"bob", "carol"} {
		if _, err := s.vault(ctx, who, "write", "-field=state", "jit/approve", "id="+id); err != nil {
			return err
		}
	}
	name, password, err := s.claim(ctx, id)
	if err != nil {
		return err
	}
	if err := s.logIn(ctx, name, password); err != nil {
		return err
	}
	s.say("bob has had enough, with most of the ten minutes left:")
	if _, err := s.vault(ctx, "bob", "write", "jit/revoke", "id="+id); err != nil {
		return err
	}
	return s.lockedOut(ctx, name, password)
}

// claim turns alice's approved request into a database login.
func (s *scene) claim(ctx context.Context, id string) (name, password string, err error) {
	out, err := s.vault(ctx, "alice", "write", "-f", "jit/claim/"+id)
	if err != nil {
		return "", "", err
	}
	if name, err = value(out, "username"); err != nil {
		return "", "", err
	}
	password, err = value(out, "password")
	return name, password, err
}

// logIn uses a login, which must work.
func (s *scene) logIn(ctx context.Context, name, password string) error {
	if out, err := s.psql(ctx, name, password); err != nil || !strings.Contains(out, name) {
		return errors.Join(errors.New("the login does not work"), err)
	}
	return nil
}

// lockedOut uses a login, which must not work any more, and shows that its user is gone.
func (s *scene) lockedOut(ctx context.Context, name, password string) error {
	if _, err := s.psql(ctx, name, password); err == nil {
		return errors.New("the login still works")
	}
	users, err := s.postgres.Users(ctx)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("the database still has %q", users)
	}
	s.print("\n")
	s.found("The login is refused, and PostgreSQL has no such user any more.")
	return nil
}

// psql asks the database who is logged in.
func (s *scene) psql(ctx context.Context, name, password string) (string, error) {
	const question = "select current_user"
	program := s.postgres.Program("psql")
	if program == "" { // the server's package came without it
		return s.queryWithoutPsql(ctx, question, name, password)
	}
	words := []string{"-h", "127.0.0.1", "-p", s.postgres.Port(), "-U", name, "-d", s.postgres.Database, "-c", question}
	s.prompt("alice", append([]string{"psql"}, words...))
	return s.command(ctx, program, append([]string{"-X", "-w"}, words...), "PGPASSWORD="+password)
}

func (s *scene) queryWithoutPsql(ctx context.Context, question, name, password string) (string, error) {
	s.prompt("alice", []string{question})
	who, err := s.postgres.CurrentUser(ctx, name, password)
	if err != nil {
		s.print("%v\n", err)
		return "", err
	}
	s.print("%s\n", who)
	return who, nil
}

// untilGone waits for the end of a database user, which must come before the deadline.
func (s *scene) untilGone(ctx context.Context, name string, deadline time.Time) error {
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, fmt.Errorf("database user %s is still there", name))
	defer cancel()
	for {
		users, err := s.postgres.Users(ctx)
		if err == nil && len(users) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// value takes a field out of the table that Vault's command line prints.
func value(table, key string) (string, error) {
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == key {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("Vault's answer has no %s", key)
}
