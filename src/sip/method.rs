//! Request methods (RFC 3261 7.1 and the RFCs that add to it).

/// Method of a request. Names are case-sensitive (RFC 3261 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// RFC 3261 10
    Register,
    /// RFC 3261 11
    Options,
    /// RFC 3261 13
    Invite,
    /// RFC 3261 13: never answered
    Ack,
    /// RFC 3261 15
    Bye,
    /// RFC 3261 9
    Cancel,
    /// RFC 3428
    Message,
    /// RFC 6665
    Subscribe,
    /// RFC 6665
    Notify,
    /// RFC 3903
    Publish,
    /// RFC 6086
    Info,
    /// RFC 3262
    Prack,
    /// RFC 3311
    Update,
    /// RFC 3515
    Refer,
    /// Any other token: 501 (RFC 3261 21.5.2).
    Other,
}

impl Method {
    /// The method called `name`.
    #[inline]
    #[must_use]
    pub fn of(name: &[u8]) -> Method {
        match name {
            b"REGISTER" => Method::Register,
            b"OPTIONS" => Method::Options,
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"MESSAGE" => Method::Message,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"PUBLISH" => Method::Publish,
            b"INFO" => Method::Info,
            b"PRACK" => Method::Prack,
            b"UPDATE" => Method::Update,
            b"REFER" => Method::Refer,
            _ => Method::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_names_are_case_sensitive_rfc_3261_7_1() {
        assert_eq!(Method::of(b"REGISTER"), Method::Register);
        assert_eq!(Method::of(b"Register"), Method::Other);
        assert_eq!(Method::of(b"RE%47IST%45R"), Method::Other);
        assert_eq!(Method::of(b""), Method::Other);
    }
}
