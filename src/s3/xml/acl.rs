//! Owners, and documents that say who may do what (AccessControlPolicy).
//!
//! To an app its buckets and all in them are the bucket's owner's, wherever they rest. That a location keeps them under an
//! account of its own, and under which, is nothing that an app could use.

use super::requests::{Bound, read};
use super::tree::{self, Element};
use super::writer::{Writer, document};
use super::{AnswerError, XmlError};

/// Most grants of one list (S3 user guide, "Access control list overview": 100).
const MAX_GRANTS: usize = 100;
const MAX_ELEMENTS: usize = 16 * MAX_GRANTS;
const FULL_CONTROL: &str = "FULL_CONTROL";

/// Writes a person: an owner, or who began an upload.
pub(super) fn person(writer: &mut Writer, name: &str, id: &str) {
    writer.element(name, |writer| identity(writer, id));
}

fn identity(writer: &mut Writer, id: &str) {
    writer.text("ID", id);
    writer.text("DisplayName", id);
}

/// Writes an AccessControlPolicy that gives its owner all, and nobody else anything.
pub fn private_acl(owner: &str) -> String {
    policy(owner, |writer| grant_to_owner(writer, owner, FULL_CONTROL))
}

/// A location's AccessControlPolicy with its own account shown as `owner`. What it grants to others is shown as it is.
pub fn show_owner(answer: &[u8], owner: &str) -> Result<String, AnswerError> {
    let root = tree::parse(answer, MAX_ELEMENTS)?.expect("AccessControlPolicy")?;
    let account = root.child("Owner").and_then(|account| account.text_of("ID"));
    let mut grants = Vec::new();
    for grant in grants_of(&root)? {
        let grantee = grant.child("Grantee").ok_or(XmlError::Missing("Grantee"))?;
        let permission = grant.text_of("Permission").ok_or(XmlError::Missing("Permission"))?;
        grants.push((grantee, permission));
    }
    Ok(policy(owner, |writer| {
        for (grantee, permission) in grants {
            match grantee.text_of("ID") {
                id if id.is_some() && id == account => grant_to_owner(writer, owner, permission),
                _ => grant_to(writer, kind(grantee), permission, |writer| {
                    writer.raw(&grantee.others(&[]));
                }),
            }
        }
    }))
}

/// Whom a client's AccessControlPolicy gives something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grants {
    /// The owner all, and nobody else anything: what holds anyhow.
    OwnerAlone,
    /// Somebody else something, or the owner less than all.
    Others,
    /// It names another owner.
    OfAnotherOwner,
}

/// Reads the body of PutBucketAcl or PutObjectAcl.
pub fn parse_acl(body: &[u8], bound: Bound, owner: &str) -> Result<Grants, XmlError> {
    let root = read(body, bound, MAX_ELEMENTS)?.expect("AccessControlPolicy")?;
    if root.children.iter().any(|child| !matches!(child.name, "Owner" | "AccessControlList")) {
        return Err(XmlError::Unexpected("AccessControlPolicy"));
    }
    let mut to_owner = false;
    let mut to_others = false;
    for grant in grants_of(&root)? {
        let grantee = grant.child("Grantee").ok_or(XmlError::Missing("Grantee"))?;
        let permission = grant.text_of("Permission").ok_or(XmlError::Missing("Permission"))?.trim();
        if !matches!(permission, FULL_CONTROL | "READ" | "WRITE" | "READ_ACP" | "WRITE_ACP") {
            return Err(XmlError::Value("Permission"));
        }
        let is_owner = kind(grantee) == CANONICAL_USER && grantee.text_of("ID").map(str::trim) == Some(owner);
        to_owner |= is_owner && permission == FULL_CONTROL;
        to_others |= !is_owner;
    }
    let named = root.child("Owner").and_then(|named| named.text_of("ID")).map(str::trim);
    Ok(match (to_owner, to_others) {
        _ if named.is_some_and(|named| named != owner) => Grants::OfAnotherOwner,
        (true, false) => Grants::OwnerAlone,
        _ => Grants::Others,
    })
}

fn grants_of<'e, 'a>(policy: &'e Element<'a>) -> Result<&'e [Element<'a>], XmlError> {
    let list = policy.child("AccessControlList").ok_or(XmlError::Missing("AccessControlList"))?;
    if list.children.iter().any(|child| child.name != "Grant") {
        return Err(XmlError::Unexpected("AccessControlList"));
    }
    if list.children.len() > MAX_GRANTS {
        return Err(XmlError::Count { what: "Grant", limit: MAX_GRANTS });
    }
    Ok(&list.children)
}

const CANONICAL_USER: &str = "CanonicalUser";

/// The kind of a grantee, which its attribute says too: each is named by an element of its own.
fn kind(grantee: &Element<'_>) -> &'static str {
    if grantee.child("URI").is_some() {
        "Group"
    } else if grantee.child("EmailAddress").is_some() {
        "AmazonCustomerByEmail"
    } else {
        CANONICAL_USER
    }
}

fn policy(owner: &str, grants: impl FnOnce(&mut Writer)) -> String {
    document("AccessControlPolicy", |writer| {
        person(writer, "Owner", owner);
        writer.element("AccessControlList", grants);
    })
}

fn grant_to_owner(writer: &mut Writer, owner: &str, permission: &str) {
    grant_to(writer, CANONICAL_USER, permission, |writer| identity(writer, owner));
}

fn grant_to(writer: &mut Writer, kind: &str, permission: &str, grantee: impl FnOnce(&mut Writer)) {
    writer.element("Grant", |writer| {
        writer.raw(&format!(
            "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\">"
        ));
        grantee(writer);
        writer.raw("</Grantee>");
        writer.text("Permission", permission);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(owner: &str, list: &str) -> Result<Grants, XmlError> {
        let document = format!(
            "<AccessControlPolicy>{owner}<AccessControlList>{list}</AccessControlList></AccessControlPolicy>"
        );
        parse_acl(document.as_bytes(), Bound(4096), "app")
    }

    fn grant(grantee: &str, permission: &str) -> String {
        format!("<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>")
    }

    #[test]
    fn a_list_that_gives_its_owner_all_is_told_from_all_others() {
        assert_eq!(
            parse_acl(private_acl("app").as_bytes(), Bound(4096), "app"),
            Ok(Grants::OwnerAlone),
            "what the gateway says can be put back"
        );
        let own = grant("<ID>app</ID>", "FULL_CONTROL");
        assert_eq!(grants("", &own), Ok(Grants::OwnerAlone));
        assert_eq!(grants("", &(own.clone() + &grant("<ID>app</ID>", "READ"))), Ok(Grants::OwnerAlone));
        for other in [
            grant("<ID>web</ID>", "READ"),
            grant("<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>", "READ"),
            grant("<EmailAddress>a@b.test</EmailAddress>", "FULL_CONTROL"),
            grant("<ID>app</ID><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>", "READ"),
            grant("", "WRITE"),
        ] {
            assert_eq!(grants("", &other), Ok(Grants::Others), "{other}");
            assert_eq!(grants("", &(own.clone() + &other)), Ok(Grants::Others), "{other}");
        }
        assert_eq!(grants("", ""), Ok(Grants::Others), "the owner would lose all");
        assert_eq!(grants("", &grant("<ID>app</ID>", "READ")), Ok(Grants::Others));
        assert_eq!(grants("<Owner><ID>web</ID></Owner>", &own), Ok(Grants::OfAnotherOwner));
    }

    #[test]
    fn what_is_no_such_list_is_malformed() {
        assert_eq!(grants("<Novelty/>", ""), Err(XmlError::Unexpected("AccessControlPolicy")));
        assert_eq!(grants("", "<Deny/>"), Err(XmlError::Unexpected("AccessControlList")));
        assert_eq!(
            grants("", "<Grant><Permission>READ</Permission></Grant>"),
            Err(XmlError::Missing("Grantee"))
        );
        assert_eq!(grants("", &grant("<ID>app</ID>", "ALL")), Err(XmlError::Value("Permission")));
        let many = grant("<ID>app</ID>", "FULL_CONTROL").repeat(101);
        assert_eq!(
            parse_acl(
                format!(
                    "<AccessControlPolicy><AccessControlList>{many}</AccessControlList></AccessControlPolicy>"
                )
                .as_bytes(),
                Bound(1 << 20),
                "app"
            ),
            Err(XmlError::Count { what: "Grant", limit: 100 })
        );
        let none = b"<AccessControlPolicy/>";
        assert_eq!(parse_acl(none, Bound(99), "app"), Err(XmlError::Missing("AccessControlList")));
    }

    #[test]
    fn a_locations_account_is_shown_as_the_owner_and_other_grants_as_they_are() {
        let answer = "<AccessControlPolicy xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>acct</ID><DisplayName>Acct</DisplayName></Owner><AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>acct</ID><DisplayName>Acct</DisplayName></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>";
        assert_eq!(show_owner(answer.as_bytes(), "app"), Ok(private_acl("app")));
        let public = "<Grantee xsi:type=\"Group\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission>";
        let answer = answer.replace("<Grant>", &format!("<Grant>{public}</Grant><Grant>"));
        let shown = show_owner(answer.as_bytes(), "a&b").ok().unwrap();
        assert!(!shown.contains("cct"), "{shown}");
        assert!(shown.contains("xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission>"), "{shown}");
        assert!(shown.contains("<ID>a&amp;b</ID>"), "{shown}");
        for broken in [
            "<AccessControlPolicy/>",
            "<Error/>",
            "<AccessControlPolicy><AccessControlList><Grant/></AccessControlList></AccessControlPolicy>",
        ] {
            assert!(show_owner(broken.as_bytes(), "app").is_err(), "{broken}");
        }
    }
}
