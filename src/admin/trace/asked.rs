//! What a trace is to be about, as a query says it.

use std::fmt::Write as _;

use super::super::problem::Problem;
use super::super::query::{Query, decimal};
use crate::limits::{TRACE_KEPT_BYTES_MAX, TRACE_KEPT_MESSAGES_MAX, TRACE_S_MAX};
use crate::shard::counters::DropReason;
use crate::shard::refused::RefuseReason;
use crate::shard::trace::{Account, Direction, Filter, Only};

/// How long a trace lasts unless asked otherwise, seconds.
const SECONDS_DEFAULT: u32 = 60;
/// Messages that are kept unless asked otherwise.
const MESSAGES_DEFAULT: usize = 1000;
/// The same, bytes.
const BYTES_DEFAULT: usize = 4 << 20;

/// The parameters of a trace that is to begin.
pub(super) const KNOWN: &[&str] = &[
    "ip",
    "account",
    "reason",
    "outcome",
    "direction",
    "keepalives",
    "seconds",
    "messages",
    "bytes",
];

/// What is asked for.
#[derive(Clone, Debug)]
pub(in super::super) struct Asked {
    /// Which messages.
    pub filter: Filter,
    /// The account as it was written, if there is one.
    pub account: Option<Box<[u8]>>,
    /// For so long.
    pub for_s: u32,
    /// Messages kept, the newest.
    pub messages_max: usize,
    /// The same, bytes.
    pub bytes_max: usize,
}

impl Asked {
    /// Reads what a query asks for.
    pub fn read(query: &Query) -> Result<Asked, Problem> {
        let account = query.aor_of("account")?;
        let filter = Filter {
            source: query.ip()?,
            account: account.as_deref().map(account_of).transpose()?,
            peers: Vec::new(),
            reason: reason(query)?,
            only: word(
                query,
                "outcome",
                &[("all", Only::All), ("dropped", Only::Dropped), ("failed", Only::Failed)],
            )?
            .unwrap_or_default(),
            direction: word(
                query,
                "direction",
                &[("both", None), ("in", Some(Direction::In)), ("out", Some(Direction::Out))],
            )?
            .flatten(),
            keepalives: word(query, "keepalives", &[("true", true), ("false", false)])?
                .unwrap_or(false),
        };
        let number = |name: &'static str, default: usize, min: usize, max: usize| {
            let Some(text) = query.value(name) else { return Ok(default) };
            decimal(text)
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| Problem::parameter(name, format!("{name}: expected {min} to {max}")))
        };
        let for_s = number("seconds", SECONDS_DEFAULT as usize, 1, TRACE_S_MAX as usize)?;
        Ok(Asked {
            filter,
            account,
            for_s: for_s as u32,
            messages_max: number("messages", MESSAGES_DEFAULT, 1, TRACE_KEPT_MESSAGES_MAX)?,
            bytes_max: number("bytes", BYTES_DEFAULT, 64 << 10, TRACE_KEPT_BYTES_MAX)?,
        })
    }

    /// What it is about, in a few words.
    pub fn about(&self) -> String {
        let Filter { source, reason, only, direction, keepalives, .. } = &self.filter;
        let mut text = String::new();
        // A string takes everything.
        if let Some(account) = &self.account {
            let _ = write!(text, "account {} ", String::from_utf8_lossy(account));
        }
        if let Some(source) = source {
            let _ = write!(text, "source {source} ");
        }
        if let Some((dropped, refused)) = reason {
            let name = dropped.map(DropReason::name).or(refused.map(RefuseReason::name));
            let _ = write!(text, "reason {} ", name.unwrap_or_default());
        }
        match only {
            Only::All => {}
            Only::Dropped => text.push_str("dropped "),
            Only::Failed => text.push_str("failed "),
        }
        match direction {
            None => {}
            Some(Direction::In) => text.push_str("in "),
            Some(Direction::Out) => text.push_str("out "),
        }
        if *keepalives {
            text.push_str("with keepalives ");
        }
        if text.is_empty() { "everything".to_owned() } else { text.trim_end().to_owned() }
    }
}

/// An account: the domain may be left out, and messages name it by whatever alias of it.
fn account_of(aor: &[u8]) -> Result<Account, Problem> {
    let bare = aor.strip_prefix(b"sips:").or(aor.strip_prefix(b"sip:")).unwrap_or(aor);
    let (user, domain) = match bare.iter().rposition(|&byte| byte == b'@') {
        Some(at) => (&bare[..at], std::str::from_utf8(&bare[at + 1..]).ok()),
        None => (bare, None),
    };
    if user.is_empty() || domain.is_some_and(str::is_empty) {
        return Err(Problem::parameter("account", "account: expected user@domain"));
    }
    let domain = domain.map(str::to_ascii_lowercase);
    Ok(Account { user: user.into(), domain })
}

type Reasons = (Option<DropReason>, Option<RefuseReason>);

/// The silence or the refusal, or both, of a name.
fn reason(query: &Query) -> Result<Option<Reasons>, Problem> {
    let Some(text) = query.value("reason") else { return Ok(None) };
    let dropped = DropReason::ALL.into_iter().find(|reason| reason.name() == text);
    let refused = RefuseReason::ALL.into_iter().find(|reason| reason.name() == text);
    if dropped.is_none() && refused.is_none() {
        let dropped = DropReason::ALL.into_iter().map(DropReason::name);
        let words: Vec<&str> = dropped.chain(RefuseReason::ALL.map(RefuseReason::name)).collect();
        let detail = format!("reason: expected one of {}", words.join(", "));
        return Err(Problem::parameter("reason", detail));
    }
    Ok(Some((dropped, refused)))
}

fn word<T: Copy>(
    query: &Query,
    name: &'static str,
    words: &[(&str, T)],
) -> Result<Option<T>, Problem> {
    let Some(text) = query.value(name) else { return Ok(None) };
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|&(_, value)| Some(value)).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
        Problem::parameter(name, format!("{name}: expected {}", words.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Asked, Problem> {
        Asked::read(&Query::read(Some(text), KNOWN)?)
    }

    #[test]
    fn a_query_says_what_a_trace_is_about_and_how_much_it_keeps() {
        let all = asked("").unwrap();
        assert_eq!((all.filter.clone(), all.for_s), (Filter::default(), 60));
        assert_eq!((all.messages_max, all.about()), (1000, "everything".to_owned()));
        let one = asked(
            "account=sip:u1@Example.com&ip=192.0.2.0/24&reason=scanner&outcome=failed\
             &direction=in&keepalives=true&seconds=5&messages=7&bytes=65536",
        )
        .unwrap();
        let account = Account { user: b"u1"[..].into(), domain: Some("example.com".into()) };
        assert_eq!(one.filter.account, Some(account));
        assert_eq!(one.filter.reason, Some((Some(DropReason::Scanner), None)));
        assert_eq!((one.for_s, one.messages_max, one.bytes_max), (5, 7, 65536));
        let about = "account sip:u1@Example.com source 192.0.2.0/24 reason scanner failed in with \
                     keepalives";
        assert_eq!(one.about(), about);
        let bare = asked("account=u1").unwrap().filter.account.unwrap();
        assert_eq!((&*bare.user, bare.domain), (&b"u1"[..], None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for bad in [
            "seconds=0",
            "seconds=3601",
            "messages=0",
            "messages=10001",
            "bytes=1",
            "ip=x",
            "account=",
            "account=@x",
            "account=u@",
            "reason=none",
            "outcome=x",
            "direction=up",
            "keepalives=1",
            "x=1",
        ] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }
}
