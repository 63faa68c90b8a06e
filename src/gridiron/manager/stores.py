"""What keeps secrets and tokens: on the disk of a node alone, in the bucket of a cluster."""

from __future__ import annotations

from gridiron.access.tokens import TokenStore
from gridiron.secrets.documents import Safe
from gridiron.secrets.keep import SharedKeep
from gridiron.secrets.store import SecretStore
from gridiron.settings import Settings


def make_secret_store(settings: Settings, safe: Safe | None) -> SecretStore:
    """Give what keeps the secrets of names; `safe` is the cluster's, None: the node is alone."""
    return SecretStore(settings.secrets_dir, None if safe is None else SharedKeep(safe))


def make_token_store(settings: Settings, safe: Safe | None) -> TokenStore:
    """Give what keeps tokens; `safe` is the cluster's, None: the node is alone."""
    if safe is None:
        return TokenStore(settings.manager_state_dir)
    return TokenStore.of_cluster(settings.manager_state_dir, safe, settings.node_name)
