"""How many people have to approve a deployment of each model, and who said so."""

from projections.view import View
from schemas.deployments import ApprovalPolicySet

VIEW = View(
    name="approval_policies",
    version=1,
    reads=(ApprovalPolicySet,),
    table="""
        model text PRIMARY KEY, approvals int NOT NULL, requester_may_approve boolean NOT NULL, timeout_s int NOT NULL,
        reason text NOT NULL, set_by text NOT NULL, set_at timestamptz NOT NULL
    """,
    batch="""
        model text, approvals int, requester_may_approve boolean, timeout_s int, reason text, set_by text,
        time timestamptz, "offset" bigint
    """,
    apply="""
        INSERT INTO {table} (model, approvals, requester_may_approve, timeout_s, reason, set_by, set_at)
        SELECT DISTINCT ON (model) model, approvals, requester_may_approve, timeout_s, reason, set_by, time
        FROM batch ORDER BY model, "offset" DESC
        ON CONFLICT (model) DO UPDATE SET
            approvals = excluded.approvals, requester_may_approve = excluded.requester_may_approve,
            timeout_s = excluded.timeout_s, reason = excluded.reason, set_by = excluded.set_by, set_at = excluded.set_at
    """,
)
