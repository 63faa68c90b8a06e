-- Which deployment gets the new invocations of each service.
-- Restate keeps one row a service: the newest revision among the deployments that are registered.
select name, deployment_id
from sys_service
