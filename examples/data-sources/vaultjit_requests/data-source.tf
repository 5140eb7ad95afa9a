# What is granted right now.
data "vaultjit_requests" "live" {
  state = ["active"]
}

output "live_grants" {
  value = { for r in data.vaultjit_requests.live.requests : r.id => "${r.requester}: ${r.role} until ${r.expires_at}" }
}
