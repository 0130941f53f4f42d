//! A binding that an operator puts in by hand, as if its phone had registered it: with the same
//! limits, and refused for the same reasons. Nothing has shown that anybody is there, so nothing is
//! sent to it that it has not asked for.

use std::net::SocketAddr;

use crate::config::default_port;
use crate::flow::{Flow, Transport};
use crate::registrar::{AorId, Binding, Contacts, Limits, Refusal, Register, Wanted};
use crate::shard::core::Core;
use crate::shard::places::refused_contact;
use crate::shard::registrations::Unfound;
use crate::sip::header::contact::{Contact, QValue};
use crate::sip::uri::{Scheme, Uri, host_ip};
use crate::time::Now;

/// What is to be put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Whose: an address-of-record, as an operator writes it.
    pub aor: Box<[u8]>,
    /// The contact, a SIP URI whose host is an address.
    pub contact: Box<[u8]>,
    /// For so many seconds, within the limits of registrations.
    pub expires_s: u32,
    /// Its q in thousandths, if it is to have one.
    pub q_thousandths: Option<u16>,
    /// Path values, joined with commas; empty if there are none.
    pub path: Box<[u8]>,
}

/// Why it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unput {
    /// There is no such account here.
    Unfound(Unfound),
    /// The contact is no SIP URI with an address for its host.
    Contact,
    /// The contact is at an address where nobody may be bound.
    Place,
    /// The transport is none but UDP: there is no connection to it.
    Transport,
    /// A phone has registered that contact itself: what it was granted holds.
    Taken,
    /// The path has a byte that no header field may have.
    Path,
    /// The registrar refuses it.
    Refused(Refusal),
}

impl Unput {
    /// In words.
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Unput::Unfound(Unfound::Malformed) => "Domain missing in AOR",
            Unput::Unfound(_) => "AOR not found",
            Unput::Contact => "the contact is no SIP URI with an address for its host",
            Unput::Place => "nobody may be bound at that address",
            Unput::Transport => "only a contact by UDP can be reached without a connection",
            Unput::Taken => "a phone has registered that contact itself",
            Unput::Path => "the path has a byte that no header field may have",
            Unput::Refused(refusal) => refusal.reason(),
        }
    }
}

/// The Call-ID of what operators put in.
const CALL_ID: &[u8] = b"put-in-by-an-operator";
const USER_AGENT: &[u8] = b"operator";

impl Core {
    /// Puts a binding in.
    pub(super) fn put_binding(&mut self, now: Now, put: &Put) -> Result<(), Unput> {
        let account = self.account_of(&put.aor).map_err(Unput::Unfound)?;
        let uri = Uri::parse(&put.contact).map_err(|_| Unput::Contact)?;
        let ip = host_ip(uri.host).ok_or(Unput::Contact)?;
        let is_udp = uri.param(b"transport").is_none_or(|word| word.eq_ignore_ascii_case(b"udp"));
        if !is_udp || uri.scheme != Scheme::Sip {
            return Err(Unput::Transport);
        }
        if put.path.iter().any(u8::is_ascii_control) {
            return Err(Unput::Path);
        }
        let of_phones = |binding: &Binding| binding.user_agent() != USER_AGENT;
        let is_taken = self
            .registrar
            .bindings(AorId(account.0), now)
            .any(|(_, one)| of_phones(one) && Wanted::Contact(&uri).matches(one));
        if is_taken {
            return Err(Unput::Taken);
        }
        let port = uri.port.unwrap_or(default_port(Transport::Udp));
        let contact = Contact {
            uri,
            q: put.q_thousandths.map(|q| QValue(q.min(1000))),
            expires: Some(put.expires_s),
            instance: None,
            reg_id: None,
            params: b"",
        };
        let list = [contact];
        if refused_contact(&self.own, None, &list, None).is_some() {
            return Err(Unput::Place);
        }
        // Each is newer than the last.
        let before = self.registrar.bindings(AorId(account.0), now);
        let before = before.filter(|(_, binding)| binding.user_agent() == USER_AGENT);
        let cseq = before.map(|(_, binding)| binding.cseq()).max().unwrap_or_default() + 1;
        let register = Register {
            aor: AorId(account.0),
            call_id: CALL_ID,
            cseq,
            contacts: Contacts::List(&list),
            user_agent: USER_AGENT,
            path: &put.path,
            source: SocketAddr::new(ip, port),
            flow: Flow::Datagram { listener: 0, local_ip: None },
            limits: match self.accounts.policy(account) {
                Some(policy) => Limits::from(&**policy),
                None => Limits {
                    bindings_max: self.accounts[account].bindings_max(),
                    ..Limits::default()
                },
            },
            ..Register::default()
        };
        match self.registrar.register(now, &register, &mut self.events) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(Unput::Refused(refusal)),
        }
    }
}
