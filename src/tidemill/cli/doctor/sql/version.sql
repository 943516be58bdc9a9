-- Called by: doctor. Parameters: none.
select current_setting('server_version_num')
