# The configuration of every cell. Gridiron renders it to WORKERD_CONFIG_PATH, with the router and the cores
# that it embeds beside it. WORKERD_TEMPLATE_PATH names another template; cells are replaced, one by one, when
# the rendered text changes. No build is named here: the router loads builds, so a deployment changes nothing.
#
# The language is Cap'n Proto's, the template's is Jinja. What is put in is quoted already. There is:
#   bundles_dir   the directory of the builds
#   secrets_dir   the directory of the key that opens their secrets
#   identity_dir  the directory of the keys that Restate may sign with: public ones
#   scripts       of the router worker: a list of .module (name of the module) and .file, named by its content
#   cores         of Restate's SDK: the same
#   core_digests  their sha256, as a text of JSON
#   egress_allow  what workers may connect to: "public", and the ranges of GRIDIRON_EGRESS_ALLOW
#   egress_deny   what they may not, although workerd takes it for public
{#-
#   manager_address  of a cluster: where the manager is asked for a build that the disk lacks; none for a node alone
#                    Of a cluster, the router needs the binding MANAGER, too.
#}
#
# The router needs the five bindings and the module names below as they are. The command line of a cell gives
# the sockets `data` and `control` their addresses.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "router", worker = .router),
    (name = "bundles", disk = (path = {{ bundles_dir }})),
    (name = "secrets", disk = (path = {{ secrets_dir }})),  # for the router alone
    (name = "identity", disk = (path = {{ identity_dir }})),  # the same
    {%- if manager_address is not none %}
    (name = "manager", external = (address = {{ manager_address }}, http = ())),  # the same
    {%- endif %}
    # Where builds' fetch() and connect() go: public addresses, so neither Restate's admin API nor a cloud's
    # metadata service. Of the rules that an address matches, the one with the longest prefix counts.
    (name = "internet", network = (
      allow = [
        {%- for rule in egress_allow %}
        {{ rule }},
        {%- endfor %}
      ],
      deny = [
        {%- for rule in egress_deny %}
        {{ rule }},
        {%- endfor %}
      ],
      tlsOptions = (trustBrowserCas = true),
    )),
  ],
  sockets = [
    (name = "data", http = (), service = "router"),
    (name = "control", http = (), service = (name = "router", entrypoint = "control")),
  ],
);

const router :Workerd.Worker = (
  modules = [
    {%- for script in scripts %}
    (name = {{ script.module }}, esModule = embed {{ script.file }}),
    {%- endfor %}
    # compiled once, and shared by all builds that carry the same file
    {%- for core in cores %}
    (name = {{ core.module }}, wasm = embed {{ core.file }}),
    {%- endfor %}
  ],
  compatibilityDate = "2026-10-01",
  compatibilityFlags = ["enable_request_signal"],  # tells the router that a client has gone
  bindings = [
    (name = "LOADER", workerLoader = (id = "builds")),
    (name = "BUNDLES", service = "bundles"),
    (name = "SECRETS", service = "secrets"),
    (name = "IDENTITY", service = "identity"),
    {%- if manager_address is not none %}
    (name = "MANAGER", service = "manager"),  # a build that the disk lacks is asked for there
    {%- endif %}
    (name = "SDK_CORES", json = {{ core_digests }}),
  ],
  globalOutbound = "internet",  # builds inherit it: they are given no other
);
