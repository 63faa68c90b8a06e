-- Invocations that can only go on with the code of the deployment that wrote their journal.
-- An invocation is pinned with its first journal entry, and stays pinned while it runs, backs off, is suspended
-- or is paused. Completed ones keep their pin for as long as they are retained (a day) and need nothing.
-- Run this after attempting.sql: what gets its first journal entry between the two is then in one of them.
select pinned_deployment_id as deployment_id, count(*) as invocations
from sys_invocation_status
where status <> 'completed'
  and pinned_deployment_id is not null
group by pinned_deployment_id
