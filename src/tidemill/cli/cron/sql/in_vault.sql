-- Called by: cron install, where Supabase Vault exists. Parameters: names.
select name from vault.decrypted_secrets where name = any ($1::text[]) and decrypted_secret <> ''
