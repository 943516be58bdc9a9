-- Called by: cron install. The catalogue. Parameters: none.
select to_regclass('vault.decrypted_secrets') is not null
