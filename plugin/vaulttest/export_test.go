package vaulttest

import (
	"os"
	"strconv"
	"strings"
)

// NewClient makes a client as the package does.
var NewClient = newClient

// Dir is the server's folder.
func (pg *Postgres) Dir() string { return pg.box.dir }

// PID is the server's process id, also after it has ended.
func (n *Node) PID() int { return n.process.Load().pid() }

// PID is the server's process id.
func (pg *Postgres) PID() int { return pg.process.pid() }

// Environ is the server's environment as the system sees it.
func (n *Node) Environ() ([]string, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(n.PID()) + "/environ")
	return strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00"), err
}

// AppendToLog writes a line into the server's log.
func (n *Node) AppendToLog(line string) error {
	f, err := os.OpenFile(n.LogPath(), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line + "\n")
	return err
}
