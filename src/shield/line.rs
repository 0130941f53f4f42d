//! What the server says to `aorta-nft`, and what that answers: lines of text, each short, each
//! checked byte by byte on the side that holds the privilege. It owns the form of a line; what is
//! done with it is [`sets`](super::sets)'.
//!
//! ```text
//! flush                       everything said before is forgotten
//! add 192.0.2.7/32 600        blocked for 600 s
//! add 198.51.100.0/24 forever blocked until it is said otherwise
//! del 192.0.2.7/32            blocked no more
//! ping                        all of the above holds from now on, at once:
//! ok 2 0                      so many networks are blocked, so many were refused
//! failed REASON               nothing has changed
//! ```

use std::fmt;

use ipnet::IpNet;

/// Longest line either side says, bytes without its end.
pub const LINE_BYTES_MAX: usize = 200;
/// Longest time a network is blocked for, seconds; what is longer is said as `forever`.
pub const TIMEOUT_S_MAX: u32 = 31_622_400;

const FOREVER: &str = "forever";

/// What the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Block a network for so many seconds, 1 to [`TIMEOUT_S_MAX`], or until it is said otherwise.
    Add(IpNet, Option<u32>),
    /// Block it no more. It need not have been.
    Del(IpNet),
    /// Forget all that was said before.
    Flush,
    /// Let what was said hold, and answer.
    Ping,
}

/// Why a line is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// It is longer than [`LINE_BYTES_MAX`].
    TooLong,
    /// A byte of it is neither a letter, a digit nor one of `.:/` and the blank.
    Byte,
    /// It begins with no word of the protocol, or something follows where nothing should.
    Words,
    /// No network as it is always written: in full, no bits past the prefix.
    Network,
    /// Neither whole seconds within the range nor `forever`.
    Timeout,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LineError::TooLong => "a line that is too long",
            LineError::Byte => "a byte that no line has",
            LineError::Words => "none of add, del, flush and ping, or not as they are said",
            LineError::Network => "no network, or not in its only form",
            LineError::Timeout => "no time in seconds",
        })
    }
}

impl Order {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// [`LineError`]; nothing of such a line is to be trusted, nor whoever said it.
    pub fn parse(line: &[u8]) -> Result<Order, LineError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(LineError::TooLong);
        }
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".:/ ".contains(byte);
        if !line.iter().all(allowed) {
            return Err(LineError::Byte);
        }
        let text = std::str::from_utf8(line).map_err(|_| LineError::Byte)?;
        let mut words = text.split(' ');
        let order = match (words.next(), words.next(), words.next()) {
            (Some("add"), Some(net), Some(time)) => Order::Add(network(net)?, timeout(time)?),
            (Some("del"), Some(net), None) => Order::Del(network(net)?),
            (Some("flush"), None, None) => Order::Flush,
            (Some("ping"), None, None) => Order::Ping,
            _ => return Err(LineError::Words),
        };
        if words.next().is_some() { Err(LineError::Words) } else { Ok(order) }
    }
}

/// A network has one spelling, so that what is compared as text elsewhere is the same network.
fn network(text: &str) -> Result<IpNet, LineError> {
    let net: IpNet = text.parse().map_err(|_| LineError::Network)?;
    let is_canonical = net == net.trunc() && net.to_string() == text;
    let is_mapped = net.addr().to_canonical() != net.addr();
    if is_canonical && !is_mapped { Ok(net) } else { Err(LineError::Network) }
}

fn timeout(text: &str) -> Result<Option<u32>, LineError> {
    if text == FOREVER {
        return Ok(None);
    }
    let digits = text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.then(|| text.parse::<u32>().ok()).flatten();
    match seconds {
        Some(seconds @ 1..=TIMEOUT_S_MAX) if !text.starts_with('0') => Ok(Some(seconds)),
        _ => Err(LineError::Timeout),
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Add(net, Some(seconds)) => write!(f, "add {net} {seconds}"),
            Order::Add(net, None) => write!(f, "add {net} {FOREVER}"),
            Order::Del(net) => write!(f, "del {net}"),
            Order::Flush => f.write_str("flush"),
            Order::Ping => f.write_str("ping"),
        }
    }
}

/// What `aorta-nft` answers to a ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was said holds.
    Done {
        /// Networks blocked now.
        networks: usize,
        /// Networks refused since the last answer: there were too many, or they overlap others.
        refused: usize,
    },
    /// It does not hold; why, as one line.
    Failed(String),
}

impl Answer {
    /// Reads a line without its end; `None` where it is no answer.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Answer> {
        let text = std::str::from_utf8(line).ok().filter(|text| text.len() <= LINE_BYTES_MAX)?;
        if let Some(why) = text.strip_prefix("failed ") {
            return Some(Answer::Failed(printable(why)));
        }
        let (networks, refused) = text.strip_prefix("ok ")?.split_once(' ')?;
        let number = |text: &str| text.parse::<u32>().ok().map(|number| number as usize);
        Some(Answer::Done { networks: number(networks)?, refused: number(refused)? })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Done { networks, refused } => write!(f, "ok {networks} {refused}"),
            Answer::Failed(why) => {
                let why = printable(why);
                let most = LINE_BYTES_MAX - "failed ".len();
                let end = (0..=most.min(why.len())).rev().find(|&at| why.is_char_boundary(at));
                write!(f, "failed {}", &why[..end.unwrap_or(0)])
            }
        }
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        for line in [
            "add 192.0.2.7/32 600",
            "add 198.51.100.0/24 forever",
            "add 2001:db8::/64 31622400",
            "del 0.0.0.0/0",
            "flush",
            "ping",
        ] {
            assert_eq!(Order::parse(line.as_bytes()).unwrap().to_string(), line);
        }
    }

    #[test]
    fn whatever_is_not_exactly_an_order_is_refused() {
        for (line, error) in [
            ("", LineError::Words),
            ("add", LineError::Words),
            ("add 192.0.2.7/32", LineError::Words),
            ("add 192.0.2.7/32 600 1", LineError::Words),
            ("add  192.0.2.7/32 600", LineError::Network),
            ("del 192.0.2.7/32 ", LineError::Words),
            ("ADD 192.0.2.7/32 600", LineError::Words),
            ("flush ruleset", LineError::Words),
            ("add 192.0.2.7 600", LineError::Network),
            ("add 192.0.2.7/24 600", LineError::Network),
            ("add 192.0.2.07/32 600", LineError::Network),
            ("add 2001:DB8::/64 600", LineError::Network),
            ("add 2001:db8:0::/64 600", LineError::Network),
            ("add ::ffff:192.0.2.7/128 600", LineError::Network),
            ("add 192.0.2.7/33 600", LineError::Network),
            ("add 192.0.2.7/32 0", LineError::Timeout),
            ("add 192.0.2.7/32 060", LineError::Timeout),
            ("add 192.0.2.7/32 31622401", LineError::Timeout),
            ("add 192.0.2.7/32 99999999999", LineError::Timeout),
            ("add 192.0.2.7/32 1s", LineError::Timeout),
            ("add 192.0.2.7/32 600; flush ruleset", LineError::Byte),
            ("add 192.0.2.7/32 600\r", LineError::Byte),
            ("add 192.0.2.7/32\t600", LineError::Byte),
            ("add {192.0.2.7} 600", LineError::Byte),
            ("p\u{131}ng", LineError::Byte),
        ] {
            assert_eq!(Order::parse(line.as_bytes()), Err(error), "{line:?}");
        }
        assert_eq!(Order::parse(&[b'a'; LINE_BYTES_MAX + 1]), Err(LineError::TooLong));
    }

    #[test]
    fn answers_are_read_as_they_are_written_and_stay_one_short_line() {
        for answer in [
            Answer::Done { networks: 12, refused: 3 },
            Answer::Failed("the table is not there".to_owned()),
        ] {
            assert_eq!(Answer::parse(answer.to_string().as_bytes()), Some(answer));
        }
        let long = Answer::Failed("é\n".repeat(300)).to_string();
        assert!(long.len() <= LINE_BYTES_MAX && !long.contains('\n'));
        for text in ["", "ok", "ok 1", "ok 1 -1", "ok 1 2 3", "failed", "pong"] {
            assert_eq!(Answer::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_refused_or_means_exactly_what_it_says(
            line in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..220),
                "(add|del|flush|ping) [0-9a-f.:/ ]{0,30}( forever| [0-9]{0,9})?"
                    .prop_map(String::into_bytes),
            ],
        ) {
            if let Ok(order) = Order::parse(&line) {
                prop_assert_eq!(order.to_string().into_bytes(), line);
            }
        }
    }
}
