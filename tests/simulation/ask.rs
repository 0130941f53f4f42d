//! What a datagram of the simulation says, read from its text without a line of the server's own
//! parser. Only the shapes that phones and the attacker of the simulation write are understood.

use std::rc::Rc;

/// A datagram as it travels to the server.
#[derive(Clone)]
pub struct Wire {
    pub source: std::net::SocketAddr,
    pub bytes: Rc<[u8]>,
}

/// Whether a datagram is owed an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// A well-formed request: exactly one.
    Always,
    /// ACK, a response, noise: none.
    Never,
    /// Damaged on purpose, so it may be a request or not.
    Unknown,
}

/// What the simulation knows about some bytes, whoever sends them.
pub struct Meaning {
    pub owed: Owed,
    /// For a REGISTER of a served domain that is well-formed.
    pub ask: Option<Ask>,
    /// Written by the attacker, in that life of the process: it must not change anything there.
    pub forged_in: Option<u32>,
}

/// A REGISTER.
pub struct Ask {
    /// User name of the address-of-record.
    pub user: String,
    pub call_id: String,
    pub cseq: u32,
    /// Call-ID, CSeq, branch and From tag: equal for retransmissions and for nothing else.
    pub key: String,
    pub user_agent: String,
    pub contacts: Asked,
    pub expires: Option<u32>,
    pub credentials: Option<Proof>,
}

/// Contacts of a REGISTER.
pub enum Asked {
    Fetch,
    Wildcard,
    List(Vec<AskedContact>),
}

/// One Contact.
pub struct AskedContact {
    pub uri: String,
    pub expires: Option<u32>,
    pub instance: Option<String>,
    pub reg_id: Option<u32>,
}

/// Digest credentials.
pub struct Proof {
    pub nonce: String,
    pub nc: u32,
    /// Whether they were made with the account's password, for this method and this nonce.
    pub right: bool,
}

impl Ask {
    /// Reads a REGISTER; `right` says whether its credentials, if any, were made with the account's
    /// password.
    pub fn read(text: &str, right: bool) -> Ask {
        let user =
            between(field(text, "To").expect("To"), "<sip:", "@").expect("a user").to_owned();
        let call_id = field(text, "Call-ID").expect("Call-ID").to_owned();
        let cseq = field(text, "CSeq").expect("CSeq").split(' ').next().unwrap().parse().unwrap();
        let branch = between(field(text, "Via").expect("Via"), "branch=", ";").expect("a branch");
        let tag = field(text, "From").expect("From").split(";tag=").nth(1).expect("a tag");
        let key = format!("{call_id} {cseq} {branch} {tag}");
        let contacts: Vec<&str> = fields(text, "Contact").collect();
        let contacts = match contacts.as_slice() {
            [] => Asked::Fetch,
            ["*"] => Asked::Wildcard,
            list => Asked::List(list.iter().map(|value| AskedContact::read(value)).collect()),
        };
        let credentials = field(text, "Authorization").map(|value| Proof {
            nonce: between(value, "nonce=\"", "\"").expect("a nonce").to_owned(),
            nc: u32::from_str_radix(between(value, " nc=", ",").expect("nc"), 16).unwrap(),
            right,
        });
        Ask {
            user,
            call_id,
            cseq,
            key,
            user_agent: field(text, "User-Agent").unwrap_or_default().to_owned(),
            contacts,
            expires: field(text, "Expires").map(|value| value.parse().unwrap()),
            credentials,
        }
    }
}

impl AskedContact {
    fn read(value: &str) -> AskedContact {
        let (uri, params) = value.strip_prefix('<').unwrap().split_once('>').unwrap();
        let number = |name: &str| {
            let digits = params.split(name).nth(1)?;
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            digits[..end].parse().ok()
        };
        AskedContact {
            uri: uri.to_owned(),
            expires: number(";expires="),
            instance: between(params, "+sip.instance=\"", "\"").map(str::to_owned),
            reg_id: number(";reg-id="),
        }
    }
}

fn field<'a>(text: &'a str, name: &'a str) -> Option<&'a str> {
    fields(text, name).next()
}

/// Values of the header fields of that name.
fn fields<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.split("\r\n").filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(after).unwrap_or(rest.len())])
}
