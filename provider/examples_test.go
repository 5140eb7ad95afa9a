package provider_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/terraformtest"
)

// example is a workspace with a copy of an example and what it leaves to the rest of a configuration.
func example(t *testing.T, cli terraformtest.CLI, folder string, env ...string) *workspace {
	t.Helper()
	root, err := terraformtest.Root()
	if err != nil {
		t.Fatal(err)
	}
	w := &workspace{t: t}
	w.Workspace = emptyWorkspace(t, cli)
	if err := os.CopyFS(w.Dir, os.DirFS(filepath.Join(root, "examples", folder))); err != nil {
		t.Fatal(err)
	}
	for _, needless := range []string{"import-by-string-id.tf", "import.sh"} {
		if err := os.Remove(filepath.Join(w.Dir, needless)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if !strings.Contains(w.all(), "required_providers") {
		w.write("required.tf", required)
	}
	w.Env = append(w.Env, env...)
	if err := w.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// all is the text of the whole configuration.
func (w *workspace) all() string {
	w.t.Helper()
	var text strings.Builder
	files, err := filepath.Glob(filepath.Join(w.Dir, "*.tf"))
	if err != nil || len(files) == 0 {
		w.t.Fatal("there is no configuration", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		text.Write(content)
	}
	return text.String()
}

// TestExamplesOfThePagesApply applies what the pages of the documentation show, each on a mount at "jit" where a policy
// "two-eyes" and a role "database" are there already.
func TestExamplesOfThePagesApply(t *testing.T) {
	p := &pipeline{fixture: newFixtureOn(t, vaulttest.Shared(t), vaulttest.MountOptions{Path: "jit"})}
	pg := vaulttest.SharedPostgres(t)
	upstream, err := p.EnableDatabase(t.Context(), "database", pg, "readonly", time.Hour, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.mount.AllowGrants(t.Context(), upstream.Policy); err != nil {
		t.Fatal(err)
	}
	prepare := func(t *testing.T) {
		t.Helper()
		p.addApproverGroup("dba", wire.ApproverGroup{IdentityGroupIDs: []string{p.dba.ID}})
		p.addApproverGroup("two", wire.ApproverGroup{IdentityGroupIDs: []string{p.dba.ID}})
		p.addPolicy("two-eyes", "two", 1)
		p.addRole("database", "two-eyes", upstream.Path, upstream.Policy)
	}
	ids := func(people ...*vaulttest.Person) string {
		var all []string
		for _, person := range people {
			all = append(all, person.EntityID)
		}
		text, err := json.Marshal(all)
		must(t, err)
		return string(text)
	}
	secret, err := p.mount.NewSecretID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root := []string{
		"VAULT_ADDR=" + p.Address(), "VAULT_TOKEN=" + p.Root().Token(), "TF_VAR_vault_address=" + p.Address(),
		"TF_VAR_dba_entity_ids=" + ids(p.bob), "TF_VAR_security_entity_ids=" + ids(p.carol),
		"TF_VAR_engine_role_id=" + p.mount.RoleID, "TF_VAR_engine_secret_id=" + secret,
	}
	asAlice := append([]string{}, root...)
	asAlice[1] = "VAULT_TOKEN=" + p.alice.Client.Token()
	folders, err := filepath.Glob("../examples/*/*")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, folder := range folders {
		if len(glob(t, folder+"/*.tf")) == 0 {
			continue
		}
		name := strings.TrimPrefix(folder, "../examples/")
		ran++
		t.Run(name, func(t *testing.T) {
			prepare(t)
			env := root
			asks := strings.Contains(name, "vaultjit_request") || strings.Contains(name, "vaultjit_credentials")
			if asks {
				env = asAlice
			}
			// What an example makes is not there yet.
			switch name {
			case "resources/vaultjit_approver_group", "resources/vaultjit_policy":
				must(t, p.operated().ApproverGroups().Delete(t.Context(), "dba"))
			case "resources/vaultjit_role":
				must(t, p.operated().Roles().Delete(t.Context(), "database"))
			}
			w := example(t, findCLI(t), name, env...)
			if strings.Contains(name, "vaultjit_config") {
				// The token role has the name of the example.
				p.tokenRole("jit-grant")
			}
			if strings.Contains(name, "vaultjit_credentials") {
				defer func(decided <-chan string) { <-decided }(p.approver(p.approve))
			}
			w.does("apply", "-auto-approve", "-no-color")
			if !asks {
				w.hasNothingToDo()
			}
			if strings.HasPrefix(name, "resources/") {
				id := ""
				if asks {
					id = p.requests(t.Context(), "pending")[0]
				}
				w.isImportedAsShown(name, id)
			}
			w.does("destroy", "-auto-approve", "-no-color")
		})
	}
	if ran < 12 {
		t.Errorf("only %d examples were found", ran)
	}
}

// isImportedAsShown forgets what the example made and imports it again, by the command and by the block of its page.
func (w *workspace) isImportedAsShown(name, id string) {
	w.t.Helper()
	read := func(file string) string {
		content, err := os.ReadFile(filepath.Join("../examples", name, file))
		if err != nil {
			w.t.Fatal(err)
		}
		return string(content)
	}
	command := regexp.MustCompile(`terraform import (\S+) (\S+)`).FindStringSubmatch(read("import.sh"))
	if command == nil {
		w.t.Fatalf("%s: import.sh imports nothing", name)
	}
	address, shown := command[1], command[2]
	if id == "" {
		id = shown
	}
	w.does("state", "rm", address)
	w.does("import", "-no-color", address, id)
	keepers := strings.Contains(w.all(), "keepers") // new ones in every plan
	if !keepers {
		w.hasNothingToDo()
	}
	w.does("state", "rm", address)
	w.write("import.tf", strings.ReplaceAll(read("import-by-string-id.tf"), `"`+shown+`"`, `"`+id+`"`))
	want := "1 to import, 0 to add, 0 to change, 0 to destroy"
	if keepers {
		want = "1 to import, 0 to add"
	}
	w.says(w.does("plan", "-no-color"), want)
	w.does("apply", "-auto-approve", "-no-color")
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (w *fixture) tokenRole(name string) {
	w.t.Helper()
	_, err := w.Root().Logical().WriteWithContext(w.t.Context(), "auth/token/roles/"+name, map[string]any{"orphan": true, "renewable": false})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestSetupExampleStandsUpAMountFromNothing has a Vault with people, a database and the plugin in the catalogue.
func TestSetupExampleStandsUpAMountFromNothing(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		ctx := t.Context()
		cluster, pg := vaulttest.New(t, vaulttest.Options{}), vaulttest.SharedPostgres(t)
		upstream, err := cluster.EnableDatabase(ctx, "database", pg, "app", time.Hour, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		people, jit := map[string]*vaulttest.Person{}, map[string]*client.Client{}
		for _, name := range []string{"alice", "bob", "carol"} {
			people[name], err = cluster.Person(ctx, name, "jit-user")
			must(t, err)
			jit[name], err = client.New(people[name].Client, "jit")
			must(t, err)
		}
		w := example(t, cli, "setup",
			"VAULT_ADDR="+cluster.Address(), "VAULT_TOKEN="+cluster.Root().Token(),
			"TF_VAR_vault_address="+cluster.Address(), "TF_VAR_database_path="+upstream.Path,
			fmt.Sprintf("TF_VAR_dba_entity_ids=[%q, %q]", people["bob"].EntityID, people["carol"].EntityID),
			fmt.Sprintf("TF_VAR_developer_entity_ids=[%q]", people["alice"].EntityID),
		)
		w.does("apply", "-auto-approve", "-no-color")
		w.hasNothingToDo()

		// It works.
		request, err := jit["alice"].Ask(ctx, wire.Ask{Role: "database", Reason: "INC-1"})
		must(t, err)
		for _, approver := range []string{"bob", "carol"} {
			_, err := jit[approver].Approve(ctx, request.ID, "")
			must(t, err)
		}
		credential, err := jit["alice"].Claim(ctx, request.ID)
		must(t, err)
		if err := pg.CanLogin(ctx, credential.Data["username"].(string), credential.Data["password"].(string)); err != nil {
			t.Error(err)
		}
		// With a grant alive the configuration that ends it stays.
		w.fails([]string{"destroy", "-auto-approve", "-no-color", "-target=vaultjit_config.engine"}, "revoke them first")
		_, _, err = jit["alice"].Revoke(ctx, request.ID)
		must(t, err)
		// A mount that somebody disabled is made again with all that was in it.
		if err := cluster.Root().Sys().UnmountWithContext(ctx, "jit"); err != nil {
			t.Fatal(err)
		}
		w.does("state", "rm", "vault_mount.jit") // as a refresh by the official provider finds
		w.says(w.does("apply", "-auto-approve", "-no-color"), `approver group "dba" is taken to be gone`, "5 added")
		w.hasNothingToDo()
		w.does("destroy", "-auto-approve", "-no-color")
		if mount, err := cluster.Root().Logical().ReadWithContext(ctx, "sys/mounts/jit"); err == nil && mount != nil {
			t.Error("the mount is still there")
		}
	})
}

// TestPipelineExampleMigratesASchema has a CI job with an identity of its own and a real PostgreSQL.
func TestPipelineExampleMigratesASchema(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		ctx := t.Context()
		cluster, pg := vaulttest.New(t, vaulttest.Options{}), vaulttest.NewPostgres(t)
		if err := pg.Exec(ctx, "CREATE ROLE app_owner; GRANT ALL ON SCHEMA public TO app_owner"); err != nil {
			t.Fatal(err)
		}
		p := pipelineOn(t, cluster, "jit")
		upstream, err := cluster.EnableDatabase(ctx, "database", pg, "migrate", time.Hour, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		put(t, cluster.Root(), "database/roles/migrate", map[string]any{
			"db_name":             "postgres",
			"creation_statements": []string{`CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE app_owner`},
		})
		if err := p.mount.AllowGrants(ctx, upstream.Policy); err != nil {
			t.Fatal(err)
		}
		p.addRole("migrate", "one", upstream.Path, upstream.Policy)

		bin, err := exec.Command("../scripts/obtain", "postgres").Output()
		if err != nil {
			t.Fatal(err)
		}
		host, port, _ := strings.Cut(pg.Address, ":")
		w := example(t, cli, "pipeline",
			"VAULT_ADDR="+cluster.Address(), "TERRAFORM_VAULT_AUTH_JWT="+ciToken(t, cluster.Root(), p.mount.UserPolicy), "TF_VAR_change=CHG-1234",
			fmt.Sprintf("TF_VAR_database={host = %q, port = %s, name = %q}", host, port, pg.Database),
			"PATH="+strings.TrimSpace(string(bin))+":"+os.Getenv("PATH"),
		)
		w.Env = append(w.Env, "TF_LOG=TRACE", "TF_LOG_PATH="+filepath.Join(w.Dir, "trace.log"))
		// Anybody in the approver group sees the request.
		p.alice = p.carol
		decided := p.approver(p.approve)
		w.does("apply", "-auto-approve", "-no-color")
		<-decided
		if err := pg.Exec(ctx, "INSERT INTO accounts (email) VALUES ('a@example.com')"); err != nil {
			t.Errorf("the schema is not there: %v", err)
		}
		if users, err := pg.Users(ctx); err != nil || !slices.Equal(users, []string{"app_owner"}) {
			t.Errorf("database users are left: %v %v", users, err)
		}
		// A plan to be looked at first, and then applied as it is.
		time.Sleep(time.Second)
		w.does("plan", "-out=plan", "-no-color")
		decided = p.approver(p.approve)
		w.does("apply", "-no-color", "plan")
		<-decided
		w.does("destroy", "-auto-approve", "-no-color")
		if open := p.requests(ctx, "open"); len(open) > 0 {
			t.Errorf("requests are still open: %v", open)
		}
	})
}

// hasNothingToDo checks that the plan is empty, as whoever looks for drift does.
func (w *workspace) hasNothingToDo() {
	w.t.Helper()
	w.does("plan", "-detailed-exitcode", "-no-color")
}

func put(t *testing.T, client *api.Client, path string, data map[string]any) {
	t.Helper()
	if _, err := client.Logical().WriteWithContext(t.Context(), path, data); err != nil {
		t.Fatal(err)
	}
}

// ciToken has Vault trust a CI system, and is the identity of one of its jobs.
func ciToken(t *testing.T, root *api.Client, policy string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Sys().EnableAuthWithOptionsWithContext(t.Context(), "jwt", &api.EnableAuthOptions{Type: "jwt"}); err != nil {
		t.Fatal(err)
	}
	put(t, root, "auth/jwt/config", map[string]any{
		"jwt_validation_pubkeys": []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))},
	})
	put(t, root, "auth/jwt/role/ci", map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "token_policies": []string{policy},
	})
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Subject: "ci:deploy", Audience: jwt.Audience{"vault"}, IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Hour)),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
