resource "vaultjit_request" "deploy" {
  role   = "database"
  reason = "CHG-1234 add an index"
}

data "vaultjit_request" "deploy" {
  id = vaultjit_request.deploy.id
}

output "still_missing" {
  value = [for rule in data.vaultjit_request.deploy.rules : rule.name if !rule.satisfied]
}
