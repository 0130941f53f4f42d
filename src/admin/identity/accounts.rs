//! Operators and tokens as they are kept, and the rules that hold among them. Nothing here knows a
//! file, a clock or a password.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::password::is_hash;
use crate::admin::operator::Role;

/// Operators there may be.
pub(super) const OPERATORS_MAX: usize = 256;
/// Tokens there may be.
pub(super) const TOKENS_MAX: usize = 256;
/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 32;
/// Names that stand for means of coming in, or for the process itself.
const RESERVED: [&str; 4] = ["loopback", "admin-token", "aorta", "nobody"];

/// An operator's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    pub role: Role,
    /// Of the password, as a PHC string.
    pub hash: String,
    /// Kept out, whatever the password.
    pub disabled: bool,
    /// RFC 3339, as all times here.
    pub created_at: String,
    pub password_at: String,
    #[serde(default)]
    pub login_at: Option<String>,
}

/// A token of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub role: Role,
    /// SHA-256 of its text, hex: 256 random bits need no slower one.
    pub hash: String,
    pub created_at: String,
    pub created_by: String,
    /// Seconds since 1970; without it does not expire.
    #[serde(default)]
    pub expires_s: Option<u64>,
    #[serde(default)]
    pub used_at: Option<String>,
}

/// All of them, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accounts {
    pub operators: BTreeMap<String, Account>,
    #[serde(default)]
    pub tokens: BTreeMap<String, Token>,
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// What was asked for is not well formed: the parameter and why.
    Malformed(&'static str, String),
    /// There is none of that name.
    Unknown(String),
    /// It goes against what is there.
    Conflict(String),
}

impl Accounts {
    /// What is wrong with accounts that somebody else may have written, if anything.
    pub fn fault(&self) -> Option<String> {
        for (name, account) in &self.operators {
            if checked_name(name).as_deref() != Ok(name) || !is_hash(&account.hash) {
                return Some(format!("the operator {name:?} has no good name or password hash"));
            }
        }
        let tokens = self.tokens.iter();
        let odd = |(name, token): &(&String, &Token)| {
            checked_name(name).as_deref() != Ok(*name) || token.hash.len() != 64
        };
        tokens.clone().find(odd).map(|(name, _)| format!("the token {name:?} is malformed"))
    }

    /// The operator of that name, in any case.
    pub fn operator(&self, name: &str) -> Result<(String, &Account), Refused> {
        let lower = name.to_ascii_lowercase();
        match self.operators.get(&lower) {
            Some(account) => Ok((lower, account)),
            None => Err(Refused::Unknown("there is no such operator".to_owned())),
        }
    }

    /// Whether one more of that name may be made. Returns the name as it is kept.
    pub fn may_add(&self, name: &str) -> Result<String, Refused> {
        let name = checked_name(name)?;
        if self.operators.contains_key(&name) {
            return Err(Refused::Conflict(format!("there is an operator {name} already")));
        }
        if self.operators.len() >= OPERATORS_MAX {
            return Err(Refused::Conflict(format!("there are {OPERATORS_MAX} operators already")));
        }
        Ok(name)
    }

    /// Whether a token of that name may be made. Returns the name as it is kept.
    pub fn may_add_token(&self, name: &str) -> Result<String, Refused> {
        let name = checked_name(name)?;
        if self.tokens.contains_key(&name) {
            return Err(Refused::Conflict(format!("there is a token {name} already")));
        }
        if self.tokens.len() >= TOKENS_MAX {
            return Err(Refused::Conflict(format!("there are {TOKENS_MAX} tokens already")));
        }
        Ok(name)
    }

    /// Changes an operator. The last admin who may come in stays one.
    pub fn change(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Account),
    ) -> Result<String, Refused> {
        let (name, before) = self.operator(name)?;
        let mut after = before.clone();
        change(&mut after);
        let loses = |account: &Account| account.disabled || account.role != Role::Admin;
        if loses(&after) && self.is_last_admin(&name) {
            return Err(last_admin());
        }
        self.operators.insert(name.clone(), after);
        Ok(name)
    }

    /// Deletes an operator, unless it is the last admin who may come in.
    pub fn delete(&mut self, name: &str) -> Result<String, Refused> {
        let (name, _) = self.operator(name)?;
        if self.is_last_admin(&name) {
            return Err(last_admin());
        }
        self.operators.remove(&name);
        Ok(name)
    }

    fn is_last_admin(&self, name: &str) -> bool {
        let is_admin = |account: &Account| account.role == Role::Admin && !account.disabled;
        let mut admins = self.operators.iter().filter(|(_, account)| is_admin(account));
        admins.next().is_some_and(|(only, _)| only == name) && admins.next().is_none()
    }

    /// The token whose text was shown, unless it has expired.
    pub fn token(&self, now_s: u64, shown: &[u8]) -> Option<(&String, &Token)> {
        let hash = token_hash(shown);
        let (name, token) = self.tokens.iter().find(|(_, token)| token.hash == hash)?;
        token.expires_s.is_none_or(|expires| now_s < expires).then_some((name, token))
    }
}

fn last_admin() -> Refused {
    Refused::Conflict("nobody would be left who may manage operators".to_owned())
}

/// What is kept of a token's text.
pub(super) fn token_hash(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name as it is kept: in lower case, of letters, digits and `._-`.
pub(super) fn checked_name(name: &str) -> Result<String, Refused> {
    let name = name.to_ascii_lowercase();
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_good) {
        let expected = format!("name: expected 1 to {NAME_BYTES_MAX} of a-z, 0-9, dot, _ and -");
        return Err(Refused::Malformed("name", expected));
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(Refused::Malformed("name", format!("name: {name} stands for something else")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(role: Role) -> Account {
        Account {
            role,
            hash: String::new(),
            disabled: false,
            created_at: String::new(),
            password_at: String::new(),
            login_at: None,
        }
    }

    #[test]
    fn the_last_admin_stays() {
        let mut accounts = Accounts::default();
        accounts.operators.insert("a".to_owned(), account(Role::Admin));
        accounts.operators.insert("b".to_owned(), account(Role::Operate));
        let conflict = |result: Result<String, Refused>| {
            assert!(matches!(result, Err(Refused::Conflict(_))), "{result:?}");
        };
        conflict(accounts.delete("A"));
        conflict(accounts.change("a", |account| account.disabled = true));
        conflict(accounts.change("a", |account| account.role = Role::Operate));
        assert!(accounts.change("a", |account| account.hash = "x".to_owned()).is_ok());
        assert!(accounts.change("b", |account| account.disabled = true).is_ok());
        accounts.change("b", |account| account.role = Role::Admin).unwrap();
        conflict(accounts.delete("a"));
        accounts.change("b", |account| account.disabled = false).unwrap();
        assert_eq!(accounts.delete("a").as_deref(), Ok("a"));
        conflict(accounts.delete("b"));
        assert!(matches!(accounts.delete("c"), Err(Refused::Unknown(_))));
    }

    #[test]
    fn names_are_plain_and_stand_for_one_thing() {
        let accounts = Accounts::default();
        assert_eq!(accounts.may_add("Alice.B-1_x").as_deref(), Ok("alice.b-1_x"));
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "a b", "a:b", "token:x", "\u{e4}", "a\n", "<b>", &long, "Loopback", "aorta"]
        {
            assert!(
                accounts.may_add(bad).is_err() && accounts.may_add_token(bad).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_token_opens_until_it_expires() {
        let mut accounts = Accounts::default();
        let token = Token {
            role: Role::Read,
            hash: token_hash(b"aorta_x"),
            created_at: String::new(),
            created_by: String::new(),
            expires_s: Some(100),
            used_at: None,
        };
        accounts.tokens.insert("ci".to_owned(), token);
        assert!(accounts.token(99, b"aorta_x").is_some());
        assert!(accounts.token(100, b"aorta_x").is_none());
        for shown in [&b"aorta_"[..], b"", token_hash(b"aorta_x").as_bytes()] {
            assert!(accounts.token(99, shown).is_none());
        }
    }
}
