-- The invocations that still need the deployment $deployment_id, the oldest first: those that pinned.sql and
-- attempting.sql count. A paused one that is not pinned goes on wherever it is resumed, so it needs none.
select id, target, status, pinned_deployment_id is not null as pinned, created_at, retry_count, last_failure
from sys_invocation
where status <> 'completed'
  and (
    pinned_deployment_id = '$deployment_id'
    or (
      pinned_deployment_id is null
      and last_attempt_deployment_id = '$deployment_id'
      and status in ('running', 'backing-off')
    )
  )
order by created_at
limit $limit
