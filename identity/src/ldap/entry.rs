//! Entries of a directory as users and groups.

use std::collections::{HashMap, HashSet};

use ldap3::SearchEntry;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Settings;
use crate::model::{Extra, Group, User};

/// The id of a user or group here: as Keystone makes it, so that what refers to him there does so here.
fn public_id(domain_id: &str, kind: &str, local_id: &str) -> String {
    let mut digest = Sha256::new();
    for part in [domain_id, kind, local_id] {
        digest.update(part.as_bytes());
    }
    hex::encode(digest.finalize())
}

/// The first value of an attribute, whatever the case of its name.
fn value<'a>(entry: &'a SearchEntry, attribute: Option<&str>) -> Option<&'a str> {
    let attribute = attribute?;
    let (_, values) = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute))?;
    values.first().map(String::as_str)
}

/// Whether an entry's user may log in, by an attribute that is a word, or a number with a bit (Active Directory).
fn is_enabled(entry: &SearchEntry, settings: &Settings) -> bool {
    let stated = value(entry, settings.text("user_enabled_attribute"));
    let stated = stated.or_else(|| settings.text("user_enabled_default")).unwrap_or("True");
    let mask = settings.number("user_enabled_mask");
    if mask != 0 {
        return stated.parse::<i64>().is_ok_and(|bits| bits & mask != mask);
    }
    stated.eq_ignore_ascii_case("true") != settings.flag("user_enabled_invert")
}

/// A user; `None` for an entry without id or name.
pub(super) fn user(entry: &SearchEntry, settings: &Settings, domain_id: &str) -> Option<User> {
    let text = |option: &str| value(entry, settings.text(option)).map(str::to_owned);
    let mut extra = Extra::new();
    if let Some(mail) = text("user_mail_attribute") {
        extra.insert("email".to_owned(), Value::String(mail));
    }
    for (attribute, name) in settings.additional_attributes() {
        if let Some(value) = value(entry, Some(attribute)) {
            extra.insert(name.to_owned(), value.into());
        }
    }
    Some(User {
        id: public_id(domain_id, "user", &text("user_id_attribute")?),
        name: text("user_name_attribute")?,
        domain_id: domain_id.to_owned(),
        default_project_id: text("user_default_project_id_attribute"),
        description: text("user_description_attribute"),
        enabled: is_enabled(entry, settings),
        password: None,
        password_history: Vec::new(),
        last_active_day: None,
        options: Extra::new(),
        extra,
        dn: Some(entry.dn.clone()),
    })
}

/// A group, and the entries or ids of its members.
pub(super) fn group(entry: &SearchEntry, settings: &Settings, domain_id: &str) -> Option<(Group, Vec<String>)> {
    let text = |option: &str| value(entry, settings.text(option)).map(str::to_owned);
    let group = Group {
        id: public_id(domain_id, "group", &text("group_id_attribute")?),
        name: text("group_name_attribute").or_else(|| text("group_id_attribute"))?,
        domain_id: domain_id.to_owned(),
        description: text("group_desc_attribute").unwrap_or_default(),
        extra: Extra::new(),
    };
    let attribute = settings.text("group_member_attribute").unwrap_or("member");
    let members = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute));
    Some((group, members.map(|(_, values)| values.clone()).unwrap_or_default()))
}

/// Users by how groups name them.
pub(super) struct Members<'a> {
    ids_by_dn: HashMap<String, &'a str>,
    ids: HashSet<&'a str>,
}

impl<'a> Members<'a> {
    pub(super) fn new(users: &'a [User]) -> Self {
        let by_dn = |user: &'a User| Some((user.dn.as_ref()?.to_lowercase(), user.id.as_str()));
        let ids = users.iter().map(|user| user.id.as_str()).collect();
        Self { ids_by_dn: users.iter().filter_map(by_dn).collect(), ids }
    }

    /// The id of a member, if it is one of the users.
    pub(super) fn id(&self, member: &str, settings: &Settings, domain_id: &str) -> Option<String> {
        if settings.flag("group_members_are_ids") {
            return Some(public_id(domain_id, "user", member)).filter(|id| self.ids.contains(id.as_str()));
        }
        self.ids_by_dn.get(&member.to_lowercase()).map(|id| (*id).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn entry(attributes: &[(&str, &str)]) -> SearchEntry {
        let attrs = attributes.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]));
        SearchEntry { dn: "cn=a,dc=x".to_owned(), attrs: attrs.collect(), bin_attrs: HashMap::new() }
    }

    fn settings(ldap: Value) -> Settings {
        let options = serde_json::from_value(ldap).expect("options");
        Settings::new(&BTreeMap::from([("ldap".to_owned(), options)]))
    }

    #[test]
    fn whether_a_user_is_enabled_is_read_as_the_directory_writes_it() {
        let active = json!({"user_enabled_attribute": "userAccountControl", "user_enabled_mask": 2,
                            "user_enabled_default": "512"});
        for (options, attributes, want) in [
            (json!({}), &[][..], true),
            (json!({}), &[("enabled", "FALSE")], false),
            (json!({"user_enabled_invert": true}), &[("enabled", "TRUE")], false),
            (json!({"user_enabled_default": "False"}), &[], false),
            (active.clone(), &[("useraccountcontrol", "512")], true),
            (active.clone(), &[("userAccountControl", "514")], false),
            (active, &[], true),
        ] {
            assert_eq!(is_enabled(&entry(attributes), &settings(options.clone())), want, "{options} {attributes:?}");
        }
    }

    #[test]
    fn an_entry_without_a_name_is_no_user() {
        let settings = settings(json!({"user_additional_attribute_mapping": ["title:rank"]}));
        assert!(user(&entry(&[("cn", "a")]), &settings, "d").is_none());
        let known = user(&entry(&[("cn", "a"), ("sn", "Ann"), ("title", "Dr"), ("mail", "a@x")]), &settings, "d");
        let known = known.expect("a user");
        assert_eq!((known.name.as_str(), known.id.len(), known.dn.as_deref()), ("Ann", 64, Some("cn=a,dc=x")));
        assert_eq!((&known.extra["rank"], &known.extra["email"]), (&json!("Dr"), &json!("a@x")));
    }
}
