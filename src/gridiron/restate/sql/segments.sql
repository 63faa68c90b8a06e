-- Which nodes keep the segments of the logs, as the node that is asked knows it; the last one of a log is written to.
select log_id, segment_index, nodeset
from logs
