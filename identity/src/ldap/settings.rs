//! How a directory is read: the options of Keystone's `[identity]` and `[ldap]` groups that are offered, with Keystone's
//! names and defaults. An option that is not in the table is refused where it is set, never ignored.

use std::collections::BTreeMap;

use ldap3::Scope;
use serde_json::{Value, json};

/// What an option holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Flag,
    /// A list of texts.
    List,
}

/// An option: group, name, kind, default as JSON text.
type Described = (&'static str, &'static str, Kind, &'static str);

/// All of them.
pub(crate) const OPTIONS: &[Described] = &[
    ("identity", "driver", Kind::Text, "\"objects\""),
    // Of the driver `sql`: the name of a database in the server's configuration; without one, that of everything else.
    ("identity", "database", Kind::Text, "null"),
    ("identity", "list_limit", Kind::Number, "null"),
    ("ldap", "url", Kind::Text, "\"ldap://localhost\""),
    ("ldap", "user", Kind::Text, "null"),
    ("ldap", "password", Kind::Text, "null"),
    ("ldap", "suffix", Kind::Text, "\"cn=example,cn=com\""),
    ("ldap", "query_scope", Kind::Text, "\"one\""),
    ("ldap", "page_size", Kind::Number, "0"),
    ("ldap", "user_tree_dn", Kind::Text, "null"),
    ("ldap", "user_filter", Kind::Text, "null"),
    ("ldap", "user_objectclass", Kind::Text, "\"inetOrgPerson\""),
    ("ldap", "user_id_attribute", Kind::Text, "\"cn\""),
    ("ldap", "user_name_attribute", Kind::Text, "\"sn\""),
    ("ldap", "user_description_attribute", Kind::Text, "\"description\""),
    ("ldap", "user_mail_attribute", Kind::Text, "\"mail\""),
    ("ldap", "user_enabled_attribute", Kind::Text, "\"enabled\""),
    ("ldap", "user_enabled_mask", Kind::Number, "0"),
    ("ldap", "user_enabled_default", Kind::Text, "\"True\""),
    ("ldap", "user_enabled_invert", Kind::Flag, "false"),
    ("ldap", "user_default_project_id_attribute", Kind::Text, "null"),
    ("ldap", "user_additional_attribute_mapping", Kind::List, "[]"),
    ("ldap", "group_tree_dn", Kind::Text, "null"),
    ("ldap", "group_filter", Kind::Text, "null"),
    ("ldap", "group_objectclass", Kind::Text, "\"groupOfNames\""),
    ("ldap", "group_id_attribute", Kind::Text, "\"cn\""),
    ("ldap", "group_name_attribute", Kind::Text, "\"ou\""),
    ("ldap", "group_member_attribute", Kind::Text, "\"member\""),
    ("ldap", "group_members_are_ids", Kind::Flag, "false"),
    ("ldap", "group_desc_attribute", Kind::Text, "\"description\""),
    ("ldap", "use_tls", Kind::Flag, "false"),
    ("ldap", "tls_cacertfile", Kind::Text, "null"),
    ("ldap", "tls_req_cert", Kind::Text, "\"demand\""),
];

/// What an option holds, if there is such an option.
pub(crate) fn kind_of(group: &str, option: &str) -> Option<Kind> {
    OPTIONS.iter().find(|(of, name, _, _)| (*of, *name) == (group, option)).map(|(_, _, kind, _)| *kind)
}

/// Whether an option is kept sealed and never shown.
pub(crate) fn is_secret(group: &str, option: &str) -> bool {
    (group, option) == ("ldap", "password")
}

/// Options by group and name.
pub(crate) type Groups = BTreeMap<String, BTreeMap<String, Value>>;

/// The settings of one directory. No `Debug`: they hold a password.
#[derive(Clone, PartialEq)]
pub(crate) struct Settings {
    options: BTreeMap<String, Value>,
}

impl Settings {
    /// From a domain's options, secrets among them; the defaults stand in for what is missing.
    pub(crate) fn new(groups: &Groups) -> Self {
        let own = groups.get("ldap");
        let of_ldap = OPTIONS.iter().filter(|(group, ..)| *group == "ldap");
        let options = of_ldap.map(|(_, name, _, default)| {
            let default = || serde_json::from_str(default).unwrap_or(Value::Null);
            ((*name).to_owned(), own.and_then(|own| own.get(*name)).cloned().unwrap_or_else(default))
        });
        Self { options: options.collect() }
    }

    /// A text; empty ones are as good as none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.options.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// A switch.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.options.get(name) == Some(&json!(true))
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.options.get(name).and_then(Value::as_i64).unwrap_or(0)
    }

    /// Attributes that are shown by other names: `ldap attribute:user attribute`.
    pub(crate) fn additional_attributes(&self) -> Vec<(&str, &str)> {
        let list = self.options.get("user_additional_attribute_mapping").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|it| it.as_str()?.split_once(':')).collect()
    }

    /// Where users (`user`) or groups (`group`) are.
    pub(crate) fn tree(&self, kind: &str) -> String {
        let stated = self.text(&format!("{kind}_tree_dn")).map(str::to_owned);
        let unit = if kind == "user" { "Users" } else { "UserGroups" };
        stated.unwrap_or_else(|| format!("ou={unit},{}", self.text("suffix").unwrap_or_default()))
    }

    /// How deep below that.
    pub(crate) fn scope(&self) -> Scope {
        if self.text("query_scope") == Some("sub") { Scope::Subtree } else { Scope::OneLevel }
    }

    /// The filter for users or groups, narrowed by one more.
    pub(crate) fn filter(&self, kind: &str, more: &str) -> String {
        let class = self.text(&format!("{kind}_objectclass")).unwrap_or("*");
        let own = self.text(&format!("{kind}_filter")).unwrap_or_default();
        format!("(&(objectClass={class}){own}{more})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domains_options_stand_before_the_defaults() {
        let own = json!({"url": "ldaps://h", "user_filter": "(a=b)", "suffix": "dc=x", "query_scope": "sub"});
        let own: BTreeMap<String, Value> = serde_json::from_value(own).expect("options");
        let settings = Settings::new(&BTreeMap::from([("ldap".to_owned(), own)]));
        assert_eq!(settings.text("url"), Some("ldaps://h"));
        assert_eq!(settings.text("user_id_attribute"), Some("cn"));
        assert_eq!(settings.tree("user"), "ou=Users,dc=x");
        assert_eq!(settings.filter("user", "(sn=n)"), "(&(objectClass=inetOrgPerson)(a=b)(sn=n))");
        assert_eq!(settings.scope(), Scope::Subtree);
        for (group, name, _, default) in OPTIONS {
            assert!(serde_json::from_str::<Value>(default).is_ok(), "{group}.{name}");
        }
    }
}
