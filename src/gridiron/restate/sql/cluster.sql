-- What one node of a cluster knows of it: a row for each node, and a row for each partition with its leader.
-- restatectl asks the node itself, as the admin API has none of these tables. As seen on Restate 1.7.12:
-- nodes.state turns to `dead` 1 to 3 s after this node lost sight of another, on a node that was cut off as well.
-- partitions says who leads as far as this node heard of it. A new leader knows it first, others up to 1.7 s later,
-- the one before it among the last.
-- partition_state is what this node asked all others for last, every 1.5 s. A leader is `Leader` there once it has
-- read its log up to the record that made it one, so that it has all that came before. Of snapshots, each replica
-- there knows those that it stored itself.
select
  'node' as kind, plain_node_id as id, gen_node_id as generation,
  name, address, state, worker_state, storage_state, metadata_server_state,
  null as epoch, null as mode, null as replay, null as replicas, null as applied_lsn, null as archived_lsn
from nodes
union all
select
  'partition', cast(p.partition_id as varchar), p.leader_gen_node_id,
  null, null, null, null, null, null,
  p.leader_epoch, s.effective_mode, s.replay_status, p.current_replica_set, s.applied_log_lsn, a.archived_lsn
from partitions as p
left join partition_state as s
  on s.partition_id = p.partition_id
  and s.gen_node_id = p.leader_gen_node_id
  and concat('e', cast(s.leader_epoch as varchar)) = p.leader_epoch
left join (
  select partition_id, max(archived_log_lsn) as archived_lsn from partition_state group by partition_id
) as a
  on a.partition_id = p.partition_id
