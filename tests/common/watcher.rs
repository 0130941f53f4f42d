//! A phone that subscribes to registrations, on strings.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use crate::common::{Challenge, Phone, Response, hash};

/// A dialog of its own beside the phone's registration.
#[derive(Clone, Debug)]
pub struct Watcher {
    pub phone: Phone,
    pub call_id: String,
    pub tag: String,
    pub cseq: u32,
    pub to_tag: Option<String>,
    pub challenge: Option<Challenge>,
    pub nc: u32,
    pub event: String,
    pub headers: String,
    /// Whose registrations.
    pub aor: String,
    /// `host` or `host:port` asked.
    pub host: String,
}

impl Watcher {
    pub fn new(phone: &Phone) -> Watcher {
        Watcher {
            phone: phone.clone(),
            call_id: format!("{}-subscription", phone.call_id),
            tag: format!("{}-w", phone.from_tag),
            cseq: 0,
            to_tag: None,
            challenge: None,
            nc: 0,
            event: "reg".into(),
            headers: String::new(),
            aor: format!("sip:{}@{}", phone.user, phone.domain),
            host: phone.domain.clone(),
        }
    }

    /// A new SUBSCRIBE.
    pub fn subscribe(&mut self, expires: u32) -> String {
        self.cseq += 1;
        let to_tag = self.to_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let authorization = self.authorization();
        let Watcher { phone, call_id, tag, cseq, event, headers, aor, host, .. } = &*self;
        let via = phone.contact.split_once('@').expect("a contact").1;
        format!(
            "SUBSCRIBE sip:{host} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {via};branch=z9hG4bK{tag}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{}@{}>;tag={tag}\r\nTo: <{aor}>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} SUBSCRIBE\r\nContact: <{}>\r\n\
             Event: {event}\r\nExpires: {expires}\r\n{authorization}{headers}\
             Content-Length: 0\r\n\r\n",
            phone.user, phone.domain, phone.contact
        )
    }

    fn authorization(&mut self) -> String {
        let Some(challenge) = &self.challenge else { return String::new() };
        self.nc += 1;
        let Challenge { realm, nonce, algorithm, .. } = challenge;
        let Phone { user, password, domain, .. } = &self.phone;
        let (uri, nc) = (format!("sip:{domain}"), self.nc);
        let ha1 = hash(algorithm, &format!("{user}:{realm}:{password}"));
        let ha2 = hash(algorithm, &format!("SUBSCRIBE:{uri}"));
        let response = hash(algorithm, &format!("{ha1}:{nonce}:{nc:08x}:w:auth:{ha2}"));
        format!(
            "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", \
             uri=\"{uri}\", response=\"{response}\", algorithm={algorithm}, qop=auth, \
             nc={nc:08x}, cnonce=\"w\"\r\n"
        )
    }

    /// Takes up a challenge, or the dialog that a 200 makes.
    pub fn take(&mut self, response: &Response) {
        match response.status {
            401 => {
                let challenge = response.header("www-authenticate").expect("a challenge");
                self.challenge = Some(Challenge::parse(challenge));
                self.nc = 0;
            }
            200 => self.to_tag = response.to_tag().map(str::to_owned),
            _ => {}
        }
    }
}
