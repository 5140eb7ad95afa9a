variable "vault_address" {
  description = "Where the plugin reaches Vault."
  type        = string
  default     = "https://127.0.0.1:8200"
}

variable "database_path" {
  description = "The path of an existing database role, whose users the grants are."
  type        = string
  default     = "database/creds/app"
}

variable "dba_entity_ids" {
  description = "Who approves."
  type        = list(string)
}

variable "developer_entity_ids" {
  description = "Who may ask."
  type        = list(string)
}
