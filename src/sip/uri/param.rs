//! URI parameters that are interpreted (RFC 3261 19.1.1, RFC 5626, RFC 5627).

use super::Uri;
use crate::flow;

impl<'a> Uri<'a> {
    /// `ob`: in a Contact, that the phone wants its flow used; in a Path, that the proxy keeps
    /// flows (RFC 5626 4.3, 5.1).
    #[must_use]
    pub fn has_ob(&self) -> bool {
        self.param(b"ob").is_some()
    }

    /// `lr`: the element routes loosely (RFC 3261 19.1.1).
    #[must_use]
    pub fn has_lr(&self) -> bool {
        self.param(b"lr").is_some()
    }

    /// `gr`, which makes a URI a GRUU: `Some(b"")` in a temporary one, the instance in a public
    /// one (RFC 5627 5.1, 5.2).
    #[must_use]
    pub fn gr(&self) -> Option<&'a [u8]> {
        self.param(b"gr")
    }

    /// `transport`, where it is one that is known; `None` also where it is absent (RFC 3261
    /// 19.1.1, RFC 7118 5.2).
    #[must_use]
    pub fn transport(&self) -> Option<flow::Transport> {
        let word = self.param(b"transport")?;
        flow::Transport::ALL
            .into_iter()
            .find(|transport| word.eq_ignore_ascii_case(transport.word().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn rfc5626_and_rfc5627_parameters_stand_with_and_without_values() {
        let plain = uri("sip:a@h");
        assert!(!plain.has_ob() && !plain.has_lr());
        assert_eq!((plain.gr(), plain.transport()), (None, None));
        let u = uri("sip:a@h;OB;gr=urn:uuid:f81d4fae;lr=on;transport=TLS");
        assert!(u.has_ob() && u.has_lr());
        assert_eq!(u.gr(), Some(&b"urn:uuid:f81d4fae"[..]));
        assert_eq!(u.transport(), Some(flow::Transport::Tls));
        assert_eq!(uri("sip:a@h;gr").gr(), Some(&b""[..]));
        assert_eq!(uri("sip:a@h;transport=sctp").transport(), None);
    }
}
