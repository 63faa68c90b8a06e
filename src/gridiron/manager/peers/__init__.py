"""How the managers of a cluster's nodes speak with each other; a node alone has nothing of it.

Each listens at a port of its own, on the node's address in the private network of the nodes, and speaks plain
HTTP there, as Restate does between nodes: who reads that network reads what builds print, and no value of a
secret. A request is signed, see `signing`; an answer is not: who can take a node's address in that network
can lie about what that node has, and can command Restate there, which asks for no credentials.
"""
