package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Postgres is a throwaway PostgreSQL server on a loopback port.
type Postgres struct {
	// Address is the host and port.
	Address string
	// AdminUser is the superuser.
	AdminUser, AdminPassword string
	// Database is what connections go to.
	Database string

	box     *sandbox
	bin     string // the folder with initdb and postgres
	user    *syscall.Credential
	process *process
}

// StartPostgres starts a PostgreSQL. If the machine has none it tries to install one first. The context bounds the
// start only.
func StartPostgres(ctx context.Context) (_ *Postgres, err error) {
	bin, err := obtain(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	box, err := newSandbox("postgres")
	if err != nil {
		return nil, err
	}
	pg := &Postgres{AdminUser: "jit_admin", AdminPassword: generateText(), Database: "postgres", box: box, bin: bin}
	defer func() {
		if err != nil {
			err = errors.Join(err, pg.Close())
		}
	}()
	if pg.user, err = findUnprivilegedUser(); err != nil {
		return nil, err
	}
	if err := pg.initialise(ctx); err != nil {
		return nil, err
	}
	err = startAtFreeAddress(func() (err error) {
		if pg.Address, err = freeAddress(); err != nil {
			return err
		}
		return pg.Start(ctx)
	})
	return pg, err
}

// findUnprivilegedUser returns another user if we are root, because PostgreSQL refuses to run as root; else nil.
func findUnprivilegedUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("the ids of user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

func (pg *Postgres) initialise(ctx context.Context) error {
	password := filepath.Join(pg.box.dir, "password")
	if err := os.WriteFile(password, []byte(pg.AdminPassword), 0o600); err != nil {
		return fmt.Errorf("making a PostgreSQL cluster: %w", err)
	}
	if pg.user != nil {
		for _, path := range []string{pg.box.dir, password} {
			if err := os.Chown(path, int(pg.user.Uid), int(pg.user.Gid)); err != nil {
				return fmt.Errorf("making a PostgreSQL cluster: %w", err)
			}
		}
	}
	// initdb writes only into our folder and ends by itself, so the guard need not watch it.
	cmd := exec.CommandContext(ctx, filepath.Join(pg.bin, "initdb"),
		"--pgdata", pg.data(), "--username", pg.AdminUser, "--pwfile", password,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync")
	cmd.Dir = pg.box.dir
	cmd.Env = pg.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: pg.user}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making a PostgreSQL cluster: %w\n%s", err, out)
	}
	return os.Remove(password)
}

func (pg *Postgres) data() string { return filepath.Join(pg.box.dir, "data") }

// env returns an environment without the developer's PG* variables.
func (pg *Postgres) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + pg.box.dir, "TMPDIR=" + pg.box.dir, "LC_ALL=C"}
}

// Start starts a stopped server again, at the same address.
func (pg *Postgres) Start(ctx context.Context) error {
	if pg.process.running() {
		return errors.New("starting PostgreSQL: it is running")
	}
	p, err := pg.box.start(command{
		path: filepath.Join(pg.bin, "postgres"),
		args: []string{
			"-D", pg.data(), "-h", "127.0.0.1", "-p", pg.Port(),
			"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "full_page_writes=off",
			"-c", "max_connections=200", "-c", "shared_buffers=16MB",
		},
		env: pg.env(), log: filepath.Join(pg.box.dir, "postgres.log"), user: pg.user,
	})
	if err != nil {
		return err
	}
	pg.process = p
	err = p.await(ctx, "it to answer", func(ctx context.Context) error { return pg.CanLogin(ctx, pg.AdminUser, pg.AdminPassword) })
	if err != nil {
		pg.Stop()
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return nil
}

// Stop ends the server and all its sessions.
func (pg *Postgres) Stop() {
	pg.process.stop(syscall.SIGINT, 10*time.Second) // its fast shutdown
}

// Close ends the server and removes its data.
func (pg *Postgres) Close() error {
	pg.Stop()
	return pg.box.close()
}

// Port is the port of the server at 127.0.0.1.
func (pg *Postgres) Port() string { return strings.TrimPrefix(pg.Address, "127.0.0.1:") }

// Program returns the path of a client program that came with the server, such as psql, or an empty string.
func (pg *Postgres) Program(name string) string {
	path, err := exec.LookPath(filepath.Join(pg.bin, name))
	if err != nil {
		return ""
	}
	return path
}

// CanLogin logs in. It returns nil if that succeeds.
func (pg *Postgres) CanLogin(ctx context.Context, name, password string) error {
	_, err := pg.CurrentUser(ctx, name, password)
	return err
}

// CurrentUser logs in and returns the user that the server reports.
func (pg *Postgres) CurrentUser(ctx context.Context, name, password string) (who string, err error) {
	err = pg.connectAs(ctx, name, password, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT current_user").Scan(&who)
	})
	return who, err
}

// Users lists the roles that Vault made: all but the server's own and its superuser.
func (pg *Postgres) Users(ctx context.Context) (names []string, err error) {
	err = pg.connectAs(ctx, pg.AdminUser, pg.AdminPassword, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT rolname FROM pg_roles
			WHERE rolname <> $1 AND rolname NOT LIKE 'pg\_%' ORDER BY 1`, pg.AdminUser)
		if err != nil {
			return err
		}
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return names, err
}

// Exec runs SQL as the superuser.
func (pg *Postgres) Exec(ctx context.Context, sql string) error {
	return pg.connectAs(ctx, pg.AdminUser, pg.AdminPassword, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	})
}

func (pg *Postgres) connectAs(ctx context.Context, name, password string, do func(*pgx.Conn) error) (err error) {
	// The URL names every setting for which the developer's PG* variables could stand in.
	to := url.URL{
		Scheme: "postgresql", Host: pg.Address, Path: pg.Database, RawQuery: "sslmode=disable",
		User: url.UserPassword(name, password),
	}
	conn, err := pgx.Connect(ctx, to.String())
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if err := do(conn); err != nil {
		return fmt.Errorf("asking PostgreSQL: %w", err)
	}
	return nil
}
