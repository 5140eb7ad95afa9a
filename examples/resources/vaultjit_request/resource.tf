# Every run asks anew: plantimestamp() is another one in every plan.
resource "vaultjit_request" "deploy" {
  role    = "database"
  reason  = "CHG-1234 add an index"
  ttl     = "15m"
  keepers = { run = plantimestamp() }
}
