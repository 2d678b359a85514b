//! Rules for passwords and log-ins, by the names and with the meanings of Keystone's `security_compliance`. A zero
//! (or an empty text) is no rule. Options of a user (`ignore_…`) excuse him.

use fancy_regex::Regex;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::model::{Extra, Password, User};
use crate::time::SECOND_US;

const DAY_US: u64 = 24 * 3600 * SECOND_US;

/// The rules as an operator sets them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compliance {
    /// Failed log-ins after which a user is locked out.
    pub lockout_failure_attempts: u64,
    /// Seconds that a lockout lasts.
    pub lockout_duration: u64,
    /// Days that a password is good for.
    pub password_expires_days: u64,
    /// How many of a user's latest passwords (the present one among them) he may not choose again.
    pub unique_last_password_count: usize,
    /// Days that a user must keep a password that he chose.
    pub minimum_password_age: u64,
    /// What a password must match, as a regular expression.
    pub password_regex: String,
    /// The same for people.
    pub password_regex_description: String,
    /// Whether a password that somebody else set only serves to be changed.
    pub change_password_upon_first_use: bool,
    /// Days without a log-in after which a user is as good as disabled.
    pub disable_user_account_days_inactive: u64,
}

impl Default for Compliance {
    fn default() -> Self {
        Self {
            lockout_failure_attempts: 0,
            lockout_duration: 1800,
            password_expires_days: 0,
            unique_last_password_count: 0,
            minimum_password_age: 0,
            password_regex: String::new(),
            password_regex_description: String::new(),
            change_password_upon_first_use: false,
            disable_user_account_days_inactive: 0,
        }
    }
}

/// The rules, ready for use.
pub(crate) struct Rules {
    pub(crate) compliance: Compliance,
    strength: Option<Regex>,
}

/// Whether an option excuses a user from a rule.
pub(crate) fn is_excused(options: &Extra, option: &str) -> bool {
    options.get(option) == Some(&serde_json::Value::Bool(true))
}

impl Rules {
    /// An error where the regular expression is none.
    pub(crate) fn new(compliance: Compliance) -> Result<Self> {
        let pattern = &compliance.password_regex;
        let strength = (!pattern.is_empty()).then(|| Regex::new(pattern)).transpose();
        let strength = strength.map_err(|error| Error::Invalid(format!("password_regex: {error}")))?;
        Ok(Self { compliance, strength })
    }

    /// 400 for a password that is not strong enough.
    pub(crate) fn check_strength(&self, password: &str) -> Result<()> {
        let Some(strength) = &self.strength else { return Ok(()) };
        // An expression that gives up on a password does not match it.
        if strength.is_match(password).unwrap_or(false) {
            return Ok(());
        }
        let why = &self.compliance.password_regex_description;
        Err(Error::Invalid(format!("The password does not match the requirements: {why}.")))
    }

    /// A new password as it is kept.
    pub(crate) fn made(&self, hash: String, options: &Extra, by_himself: bool, now_us: u64) -> Password {
        let rules = &self.compliance;
        let at_once = rules.change_password_upon_first_use
            && !by_himself
            && !is_excused(options, "ignore_change_password_upon_first_use");
        let days = rules.password_expires_days;
        let expires = days > 0 && !is_excused(options, "ignore_password_expiry");
        let expires_at_us = match (at_once, expires) {
            (true, _) => Some(now_us),
            (false, true) => Some(now_us + days * DAY_US),
            (false, false) => None,
        };
        Password { hash, set_at_us: now_us, expires_at_us, self_service: by_himself }
    }

    /// Whether a user's password only serves to be changed.
    pub(crate) fn is_expired(&self, user: &User, now_us: u64) -> bool {
        expires_at_us(user).is_some_and(|end| end <= now_us)
    }

    /// 400 for a change that comes too soon after the last one.
    pub(crate) fn check_age(&self, user: &User, now_us: u64) -> Result<()> {
        let days = self.compliance.minimum_password_age;
        let Some(password) = user.password.as_ref().filter(|it| it.self_service && days > 0) else { return Ok(()) };
        if now_us < password.set_at_us + days * DAY_US && !self.is_expired(user, now_us) {
            return Err(Error::Invalid(format!("The password may be changed {days} days after the last change only.")));
        }
        Ok(())
    }

    /// Sets a user's password, and remembers as many of the earlier ones as the rules ask for.
    pub(crate) fn replace(&self, user: &mut User, password: Password) {
        let before = user.password.replace(password);
        user.password_history.splice(0..0, before);
        user.password_history.truncate(self.compliance.unique_last_password_count.saturating_sub(1));
    }

    /// Hashes of the passwords that a user may not choose again.
    pub(crate) fn excluded<'a>(&self, user: &'a User) -> Vec<&'a str> {
        let all = user.password.iter().chain(&user.password_history);
        all.take(self.compliance.unique_last_password_count).map(|it| it.hash.as_str()).collect()
    }

    /// Whether a user has not logged in for too long.
    pub(crate) fn is_inactive(&self, user: &User, now_us: u64) -> bool {
        let days = self.compliance.disable_user_account_days_inactive;
        let last = user.last_active_day.filter(|_| days > 0 && !is_excused(&user.options, "ignore_user_inactivity"));
        last.is_some_and(|last| today(now_us) > last + days)
    }

    /// Whether log-ins are to be noted in the user's record.
    pub(crate) fn notes_activity(&self) -> bool {
        self.compliance.disable_user_account_days_inactive > 0
    }
}

/// The number of the day, since 1970.
pub(crate) fn today(now_us: u64) -> u64 {
    now_us / DAY_US
}

/// From when a user's password only serves to be changed.
pub(crate) fn expires_at_us(user: &User) -> Option<u64> {
    let end = user.password.as_ref()?.expires_at_us;
    end.filter(|_| !is_excused(&user.options, "ignore_password_expiry"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_password_is_refused_with_the_operators_words() {
        let rules = Rules::new(Compliance {
            password_regex: r"^(?=.*\d)(?=.*[a-zA-Z]).{7,}$".into(),
            password_regex_description: "seven letters and digits".into(),
            ..Compliance::default()
        });
        let rules = rules.expect("an expression with look-ahead");
        assert!(rules.check_strength("abcdef1").is_ok());
        for weak in ["abcdefg", "1234567", "ab1", ""] {
            let error = rules.check_strength(weak).expect_err(weak);
            assert!(error.to_string().contains("seven letters and digits"), "{error}");
        }
        assert!(Rules::new(Compliance { password_regex: "(".into(), ..Compliance::default() }).is_err());
    }
}
