//! The accounts that are loaded: names, passwords and domains, made by a rule or read from a
//! file, kept in one piece of memory. No state of any session lives here.

use std::fmt;
use std::path::Path;

/// Longest user, domain or password, bytes: a request must fit a datagram.
pub const NAME_MAX: usize = 128;
/// Most domains that one run may name.
pub const DOMAINS_MAX: usize = 4096;

/// Accounts in the order they were added.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    text: Vec<u8>,
    entries: Vec<Entry>,
    domains: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    user: u8,
    password: u8,
    domain: u16,
}

/// Why accounts cannot be had.
#[derive(Debug)]
pub enum RosterError {
    /// A line of the file is not `user@domain password`.
    Line {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file cannot be read.
    File(String, std::io::Error),
    /// A name that a rule makes cannot be used.
    Name(&'static str),
    /// Nobody to register.
    Empty,
}

impl fmt::Display for RosterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RosterError::Line { file, line, why } => write!(f, "{file}:{line}: {why}"),
            RosterError::File(file, error) => write!(f, "cannot read {file}: {error}"),
            RosterError::Name(why) => write!(f, "the naming rule makes an unusable name: {why}"),
            RosterError::Empty => write!(f, "no account to register"),
        }
    }
}

impl std::error::Error for RosterError {}

impl Roster {
    /// Accounts `first..first + count` by rule: `{n}` in a format stands for the number, `{n:06}`
    /// for the number padded with zeros.
    pub fn numbered(
        users: &str,
        passwords: &str,
        domain: &str,
        first: u32,
        count: u32,
    ) -> Result<Self, RosterError> {
        let mut roster = Roster::default();
        roster.entries.reserve_exact(count as usize);
        if count > 1 && !users.contains("{n") {
            return Err(RosterError::Name("the user format has no {n}, all users would be one"));
        }
        let last = first.checked_add(count.saturating_sub(1));
        last.ok_or(RosterError::Name("the last number does not fit"))?;
        for number in (0..count).map(|offset| first + offset) {
            let user = numbered(users, number).map_err(RosterError::Name)?;
            let password = numbered(passwords, number).map_err(RosterError::Name)?;
            roster.push(&user, domain, &password).map_err(RosterError::Name)?;
        }
        if roster.is_empty() { Err(RosterError::Empty) } else { Ok(roster) }
    }

    /// Accounts of a file with a line `user@domain password` each; `#` begins a comment line.
    pub fn read(path: &Path) -> Result<Self, RosterError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| RosterError::File(file.clone(), error))?;
        Self::parse(&file, &text)
    }

    fn parse(file: &str, text: &str) -> Result<Self, RosterError> {
        let mut roster = Roster::default();
        for (index, line) in text.lines().enumerate() {
            let refuse = |why| RosterError::Line { file: file.to_owned(), line: index + 1, why };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut fields = line.split_whitespace();
            let (address, password) = (fields.next().unwrap_or(""), fields.next());
            let password = password.ok_or(refuse("expected `user@domain password`"))?;
            if fields.next().is_some() {
                return Err(refuse("more than `user@domain password`: an HA1 cannot be used here"));
            }
            let (user, domain) =
                address.rsplit_once('@').ok_or(refuse("the account has no @domain"))?;
            roster.push(user, domain, password).map_err(refuse)?;
        }
        if roster.is_empty() { Err(RosterError::Empty) } else { Ok(roster) }
    }

    /// Adds one account, or says why it cannot be used.
    pub fn push(&mut self, user: &str, domain: &str, password: &str) -> Result<(), &'static str> {
        let length_fits = |text: &str| (1..=NAME_MAX).contains(&text.len());
        if !length_fits(user) || !length_fits(domain) || !length_fits(password) {
            return Err("user, domain and password are 1 to 128 bytes long");
        }
        // Written into URIs and quoted strings as they are, so nothing that would need escaping.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,%".contains(&byte);
        if !user.bytes().all(plain) {
            return Err("the user has a character that a SIP URI would need escaped");
        }
        if !domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte)) {
            return Err("the domain is not a host name or address");
        }
        if password.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("the password has a control character");
        }
        let known = match self.entries.last() {
            Some(entry) if self.domains[usize::from(entry.domain)] == domain => {
                Some(usize::from(entry.domain))
            }
            _ => self.domains.iter().position(|one| one == domain),
        };
        let index = match known {
            Some(index) => index,
            None if self.domains.len() == DOMAINS_MAX => return Err("too many different domains"),
            None => {
                self.domains.push(domain.to_owned());
                self.domains.len() - 1
            }
        };
        let start = u32::try_from(self.text.len()).map_err(|_| "more than 4 GiB of names")?;
        self.text.extend_from_slice(user.as_bytes());
        self.text.extend_from_slice(password.as_bytes());
        self.entries.push(Entry {
            start,
            user: user.len() as u8,
            password: password.len() as u8,
            domain: index as u16,
        });
        Ok(())
    }

    /// Splits the accounts in turn into `parts` rosters, one for each thread.
    pub fn deal(&self, parts: usize) -> Vec<Roster> {
        let mut hands = vec![Roster { domains: self.domains.clone(), ..Roster::default() }; parts];
        for (index, entry) in self.entries.iter().enumerate() {
            let hand = &mut hands[index % parts];
            let start = hand.text.len() as u32;
            hand.text.extend_from_slice(self.user(index as u32));
            hand.text.extend_from_slice(self.password(index as u32));
            hand.entries.push(Entry { start, ..*entry });
        }
        hands
    }

    /// The same accounts in another order, the same one each time: neighbours in number are none in
    /// place.
    pub fn shuffled(&self) -> Roster {
        let mut all = self.clone();
        // xorshift32: any order will do, so long as it is none.
        let mut state = 0x9e37_79b9u32;
        for last in (1..all.entries.len()).rev() {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            all.entries.swap(last, state as usize % (last + 1));
        }
        all
    }

    /// Number of accounts.
    pub fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Whether there is no account.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// User part of one account.
    #[inline]
    pub fn user(&self, index: u32) -> &[u8] {
        let entry = self.entries[index as usize];
        let start = entry.start as usize;
        &self.text[start..start + usize::from(entry.user)]
    }

    /// Password of one account.
    pub fn password(&self, index: u32) -> &[u8] {
        let entry = self.entries[index as usize];
        let start = entry.start as usize + usize::from(entry.user);
        &self.text[start..start + usize::from(entry.password)]
    }

    /// Number of the domain of one account.
    #[inline]
    pub fn domain(&self, index: u32) -> usize {
        usize::from(self.entries[index as usize].domain)
    }

    /// All domains.
    pub fn domains(&self) -> &[String] {
        &self.domains
    }
}

/// A format with its number put in.
fn numbered(format: &str, number: u32) -> Result<String, &'static str> {
    let Some(open) = format.find("{n") else { return Ok(format.to_owned()) };
    let after = &format[open + 2..];
    let close = after.find('}').ok_or("`{n` without `}`")?;
    let width = match &after[..close] {
        "" => 0,
        width => width
            .strip_prefix(":0")
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|width| *width <= 20)
            .ok_or("only {n} and {n:0WIDTH} up to 20 digits are understood")?,
    };
    Ok(format!("{}{number:0width$}{}", &format[..open], &after[close + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_accounts_follow_the_rule() {
        let roster = Roster::numbered("u{n:04}x", "p{n}", "example.com", 9, 2).unwrap();
        assert_eq!(roster.len(), 2);
        assert_eq!((roster.user(1), roster.password(1)), (&b"u0010x"[..], &b"p10"[..]));
        assert_eq!(roster.domains(), ["example.com"]);
    }

    #[test]
    fn dealing_keeps_every_account_once() {
        let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 5).unwrap();
        let hands = roster.deal(2);
        assert_eq!(hands.iter().map(Roster::len).collect::<Vec<_>>(), [3, 2]);
        assert_eq!((hands[1].user(1), hands[1].password(1)), (&b"u4"[..], &b"p4"[..]));
    }

    #[test]
    fn shuffling_keeps_every_account_once_and_neighbours_apart() {
        let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 1000).unwrap();
        let shuffled = roster.shuffled();
        let users = |roster: &Roster| -> Vec<Vec<u8>> {
            (0..roster.len()).map(|index| roster.user(index).to_vec()).collect()
        };
        let (mut before, mut after) = (users(&roster), users(&shuffled));
        let still = before.iter().zip(&after).filter(|(one, other)| one == other).count();
        assert!(still < 20, "{still} of 1000 stay where they were");
        before.sort_unstable();
        after.sort_unstable();
        assert_eq!(before, after);
        assert_eq!(shuffled.password(7)[1..], shuffled.user(7)[1..]);
    }

    #[test]
    fn a_file_is_read_and_a_bad_line_is_named() {
        let roster = Roster::parse("f", "# all\n\nu1@a.example p1\nu2@b.example  p2\n").unwrap();
        assert_eq!(roster.domains(), ["a.example", "b.example"]);
        assert_eq!((roster.user(1), roster.domain(1)), (&b"u2"[..], 1));
        for (text, expected) in [
            ("u1@a p\nu2@b", "f:2: expected"),
            ("u1 p", "f:1: the account has no @domain"),
            ("u1@a ha1 00", "f:1: more than"),
            ("u\"1@a p", "f:1: the user has"),
            ("\n# nobody\n", "no account"),
        ] {
            let error = Roster::parse("f", text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn unusable_rules_are_refused() {
        assert!(Roster::numbered("u", "p", "example.com", 1, 2).is_err());
        assert!(Roster::numbered("u{n", "p", "example.com", 1, 2).is_err());
        assert!(Roster::numbered("u{n:x}", "p", "example.com", 1, 1).is_err());
        assert!(Roster::numbered("u{n}", "p", "example.com", u32::MAX, 2).is_err());
        assert!(Roster::numbered("u{n}", "p", "example.com", 1, 0).is_err());
    }
}
