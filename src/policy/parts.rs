//! The parts of a rule's text, for whoever reads rules instead of putting questions to Cedar.

use cedar_policy::pst::{BinaryOp, Clause};
use cedar_policy::{ActionConstraint, Policy, PrincipalConstraint, ResourceConstraint};

/// The names in a rule's scope: actions, or groups of them; `None` when it is about every action.
pub fn actions(policy: &Policy) -> Option<Vec<String>> {
    match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(action) => Some(vec![action.id().unescaped().to_owned()]),
        ActionConstraint::In(actions) => {
            Some(actions.iter().map(|action| action.id().unescaped().to_owned()).collect())
        }
    }
}

/// Whether a name in a scope is that action's own, or that of a group which the schema puts it in.
pub fn names_action(name: &str, action: &str) -> bool {
    match name {
        "Transfer" => matches!(action, "Store" | "Replicate" | "Relocate" | "Read"),
        "AtRest" => matches!(action, "Store" | "Replicate" | "Relocate"),
        other => other == action,
    }
}

/// What has to hold for a rule to hold, beside its action.
pub struct Demands {
    /// The kind of resource that it is about; `None` for any.
    pub kind: Option<String>,
    pub clauses: Vec<Clause>,
}

impl Demands {
    /// `None` when its scope names anything but kinds: one operator or one place has no part in what is read here.
    pub fn of(policy: &Policy) -> Option<Demands> {
        match policy.principal_constraint() {
            PrincipalConstraint::Any => {}
            PrincipalConstraint::Is(kind) if kind.basename() == "Operator" => {}
            _ => return None,
        }
        let kind = match policy.resource_constraint() {
            ResourceConstraint::Any => None,
            ResourceConstraint::Is(kind) => Some(kind.basename().to_owned()),
            _ => return None,
        };
        Some(Demands { kind, clauses: policy.to_pst().ok()?.body().clauses().clone() })
    }
}

/// The comparison that says the same with its sides swapped.
pub fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEq => BinaryOp::GreaterEq,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEq => BinaryOp::LessEq,
        other => other,
    }
}
