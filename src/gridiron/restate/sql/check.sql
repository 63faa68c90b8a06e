-- Whether every partition can be asked. The table is in memory and small, and is read from all partitions; one
-- that has no leader or is not started yet makes the query fail.
select count(*) as invocations
from sys_invocation_state
