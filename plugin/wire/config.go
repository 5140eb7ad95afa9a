package wire

// ConfigTable describes the engine's configuration.
var ConfigTable = Table{
	Name: "Config", Description: "is how the engine reaches Vault, who it is there, and its limits.",
	Fields: []Field{
		{Name: "address", Type: String, Required: true, Description: "URL of this Vault as the plugin reaches it, for example `https://127.0.0.1:8200`: scheme, host and port."},
		{Name: "token_role", Type: String, Required: true, Description: "Token role (`auth/token/roles/NAME`) through which grant tokens are made; " +
			"it bounds what any grant can get."},
		{Name: "role_id", Type: String, Description: "The `role_id` of the engine's own AppRole. Required, unless `token` is given."},
		{Name: "secret_id", Type: String, Sensitive: true, Description: "The `secret_id` of the engine's own AppRole. Required, unless `token` is given. Never read back."},
		{Name: "auth_mount", Type: String, Default: "approle", Description: "Path of the AppRole auth mount."},
		{Name: "token", Type: String, Sensitive: true, Description: "A Vault token to use instead of an AppRole. Never read back. If it may read " +
			"`auth/token/lookup-self`, the engine knows when it ends, and renews it if it can be renewed. Once it has ended, the engine has no other."},
		{Name: "namespace", Type: String, Description: "Vault namespace the engine works in."},
		{Name: "ca_cert", Type: String, DefaultSaid: "the system's", Description: "CA certificate of the address, PEM."},
		{Name: "tls_server_name", Type: String, Description: "Name to expect in the certificate, if it is not the address's host."},
		{Name: "client_cert", Type: String, Description: "Client certificate, PEM, for a listener that asks for one."},
		{Name: "client_key", Type: String, Sensitive: true, Description: "Private key of `client_cert`, PEM. Never read back."},
		{Name: "auditor_group_ids", Type: Strings, Description: "Ids of identity groups whose members see every request and may end every grant."},
		{Name: "retention", Type: Int, Unit: InSeconds, Default: "720h", Description: "How long an ended request is kept."},
		{Name: "max_pending_per_requester", Type: Int, Default: 100, Description: "How many requests of one person may wait for a decision or a claim at a time."},
	},
}

// StatusTable describes how the engine is doing.
var StatusTable = Table{
	Name: "Status", Description: "is how the engine is doing.",
	Fields: []Field{
		{Name: "plugin_version", Type: String, Computed: true, Description: "The release of the plugin that answers."},
		{Name: "logged_in", Type: Bool, Computed: true, Description: "Whether the engine has a token of its own."},
		{Name: "login_problem", Type: String, Computed: true, Description: "Why it has none, or what else of its login could not be learned."},
		{Name: "token_expires_at", Type: Moment, Computed: true, Description: "When the engine's token ends unless it is renewed, which the engine does when two thirds " +
			"of its life are over."},
		{Name: "secret_id_expires_at", Type: Moment, Computed: true, Description: "When the engine's `secret_id` ends; empty for one without an end."},
		{Name: "open_requests", Type: Int, Computed: true, Description: "Requests about which something may still have to be done."},
		{Name: "live_grants", Type: Int, Computed: true, Description: "Grants that have not ended on record."},
		{Name: "unconfirmed_ends", Type: Int, Computed: true, Description: "Grants that have ended on record, and claims that failed, of which Vault has not confirmed that " +
			"nothing is left."},
		{Name: "unconfirmed_ids", Type: Strings, Computed: true, Description: "The ids of their requests."},
		{Name: "last_periodic_run", Type: Moment, Computed: true, Description: "The last time the engine did its periodic work; empty before the first time after a start."},
	},
}
