-- Invocations with no journal entry yet whose current or last attempt is on a deployment.
-- As seen on Restate 1.7.12: while an attempt runs, its row in sys_invocation_state has in_flight = true; while
-- it backs off, in_flight = false and next_retry_at is set. Both keep last_attempt_deployment_id. The next
-- attempt of an invocation that is not pinned goes to the deployment that is newest by then, so a retry leaves
-- a deployment that was superseded after one more delay, and its row names the newer one from then on.
-- One that is paused while it backs off keeps its row as it was, even when it is killed then; its status says
-- that it is not attempted. It goes on wherever it is resumed.
-- What is scheduled, waits for its turn, or is suspended with an empty journal has no row here; it will start
-- on the newest deployment.
-- The state is read before it is joined (it is the small side), so what is pinned meanwhile is left to pinned.sql,
-- and what began meanwhile has its status.
select state.last_attempt_deployment_id as deployment_id, count(*) as invocations
from sys_invocation_state as state
join sys_invocation_status as status on status.id = state.id
where (state.in_flight or state.next_retry_at is not null)
  and state.last_attempt_deployment_id is not null
  and status.status = 'invoked'
  and status.pinned_deployment_id is null
group by state.last_attempt_deployment_id
